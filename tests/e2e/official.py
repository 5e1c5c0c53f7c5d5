"""The official client at the command line, as one person uses it against one market."""

import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

FRONT = Path(__file__).with_name("front.py")
COLOURS = re.compile(r"\x1b\[[0-9;]*[mK]")


@dataclass(frozen=True)
class Done:
    """How a command ended and what it printed, without colours."""

    line: str
    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """Everything that was printed."""
        return self.out + self.err

    def table(self) -> list[dict[str, str]]:
        """The rows of a printed table; the client prints spaces in values as underscores."""
        heading, *rows = [line for line in self.out.splitlines() if line.strip()]
        headings = re.split(r"\s{2,}", heading.strip())
        assert headings[0] == "#", self.out
        return [dict(zip(headings, row.split(), strict=True)) for row in rows]


class Official:
    """Runs command lines with one key; nothing of it outlives the `with`."""

    def __init__(self, url: str, key: str, home: Path) -> None:
        self.url = url
        self.key = key
        self.home = home
        home.mkdir(parents=True, exist_ok=True)
        ours = {
            # With a slash that --url has not: then every address follows --url, the engine's too.
            "VAST_URL": f"{url}/",
            "CI": "1",
            "COLUMNS": "400",
            "LINES": "1000",
            "HOME": str(home),
            "TMPDIR": str(home),
            "XDG_CONFIG_HOME": str(home / "config"),
            "XDG_CACHE_HOME": str(home / "cache"),
            "XDG_STATE_HOME": str(home / "state"),
        }
        kept = {name: value for name, value in os.environ.items() if not name.startswith("VAST")}
        self._environment = kept | ours
        self._front = subprocess.Popen(
            [sys.executable, str(FRONT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=self._environment,
            cwd=home,
        )

    def __enter__(self) -> Self:
        """Ready for commands."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the program."""
        assert self._front.stdin is not None
        self._front.stdin.close()
        assert self._front.wait(timeout=30) == 0

    def names(self) -> list[str]:
        """The name of every command that the client has."""
        told = subprocess.run(
            [sys.executable, str(FRONT), "--names"],
            stderr=subprocess.PIPE,
            text=True,
            env=self._environment,
            check=False,
        )
        return told.stderr.split("\n")[:-1]

    def run(self, line: str, *more: str, stdin: str = "", key: str | None = None) -> Done:
        """Run a command line, words of `more` added as they are."""
        words = ["--url", self.url, "--api-key", key or self.key, *shlex.split(line), *more]
        assert self._front.stdin is not None
        assert self._front.stdout is not None
        self._front.stdin.write(json.dumps({"words": words, "stdin": stdin}) + "\n")
        self._front.stdin.flush()
        answer = json.loads(self._front.stdout.readline())
        done = Done(
            line, answer["code"], COLOURS.sub("", answer["out"]), COLOURS.sub("", answer["err"])
        )
        assert "Traceback" not in done.text, done
        return done

    def ok(self, line: str, *more: str, stdin: str = "") -> Done:
        """Run a command line that must succeed and complain of nothing."""
        done = self.run(line, *more, stdin=stdin)
        assert done.code == 0, done
        assert "Failed" not in done.err, done
        assert '"error"' not in done.err, done
        assert not done.out.startswith(("Error", "Failed", "error")), done
        return done

    def raw(self, line: str, *more: str) -> Any:
        """What a command line answers as JSON."""
        return json.loads(self.ok(f"--raw {line}", *more).out)

    def refused(self, line: str, *more: str, key: str | None = None) -> str:
        """What a command line that must be refused says; the client exits with 0 all the same."""
        done = self.run(line, *more, key=key)
        assert "Failed with error 4" in done.err, done
        return done.err
