"""The official client's reading commands against a whole market with pretend containers."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.client, pytest.mark.slow]
COMMANDS = ("show user", "show instances", "search offers", "show ssh-keys", "show env-vars")


def test_reading_commands_answer_plain_and_raw(tmp_path: Path) -> None:
    programs = Path(sys.executable).parent
    ready = tmp_path / "ready.json"
    arguments = ["up", "--data", str(tmp_path / "data"), "--port", "18932", "--pretend"]
    arguments += ["--demo", "none", "--ready-file", str(ready)]
    environment = os.environ | {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    with subprocess.Popen([programs / "mercato", *arguments], stdout=subprocess.DEVNULL) as market:
        try:
            while not ready.exists():
                assert market.poll() is None
                with contextlib.suppress(subprocess.TimeoutExpired):
                    market.wait(0.1)
            given = json.loads(ready.read_text())
            login = ["--url", given["url"], "--api-key", given["renter_key"]]
            for words in COMMANDS:
                for form in ([], ["--raw"]):
                    command = [programs / "vastai", *words.split(), *login, *form]
                    done = subprocess.run(
                        command, capture_output=True, text=True, env=environment, check=False
                    )
                    assert done.returncode == 0, (words, form, done.stderr)
                    assert "Traceback" not in done.stdout + done.stderr
        finally:
            market.terminate()
