"""A statement downloaded by the program and verified by it with no server at hand."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.control.api.scripted import ScriptedAgent, join
from tests.control.api.serving import Served
from tests.control.api.test_journey import eventually
from tests.control.market import hardware


@pytest.fixture
def instance(server: Served) -> Iterator[int]:
    made = hardware()
    joined = join(server, of=made)
    with ScriptedAgent(server, joined, made).working():
        listing = {"machine": joined.machine, "price_gpu": 360, "price_disk": 0.1}
        assert server.call("PUT", "/api/v0/machines/create_asks/", "host", listing).is_success
        found = eventually(
            lambda: server.call("POST", "/api/v0/bundles/", None, {"num_gpus": {"eq": 1}}).json()[
                "offers"
            ]
        )
        body = {"image": "debian:12", "disk": 10}
        server.call("POST", "/api/v0/admin/accounts/3/credit/", "operator", {"amount": 1000})
        rented = server.call("PUT", f"/api/v0/asks/{found[0]['id']}/", "renter", body)
        assert rented.is_success, rented.text
        yield rented.json()["new_contract"]


def test_a_statement_is_downloaded_and_verified_offline(
    server: Served, instance: int, tmp_path: Path
) -> None:
    def mercato(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "mercato.cli", *words],
            env=os.environ | {"XDG_CONFIG_HOME": str(tmp_path / "config")},
            capture_output=True,
            text=True,
            check=False,
        )

    file = tmp_path / "bill.json"
    unknown = tmp_path / "unknown.json"
    login = ("--url", server.url, "--api-key", server.keys["renter"])

    def charged() -> bool:
        done = mercato("bill", "download", str(file), *login)
        assert done.returncode == 0, done.stderr
        return bool(json.loads(file.read_text())["records"])

    eventually(charged)
    done = mercato("bill", "verify", str(file))
    assert done.returncode == 0, done.stderr
    assert f"{instance}" in done.stdout
    assert "Verified:" in done.stdout
    statement = json.loads(file.read_text())
    statement["records"][-1]["record"]["amount"] -= 1
    file.write_text(json.dumps(statement))
    forged = mercato("bill", "verify", str(file))
    assert (forged.returncode, forged.stdout) == (1, "")
    assert "does not" in forged.stderr or "is not" in forged.stderr
    statement["summary"]["market"] = "http://elsewhere"
    unknown.write_text(json.dumps(statement))
    assert "--key" in mercato("bill", "verify", str(unknown)).stderr
    assert "not a statement" in mercato("bill", "verify", __file__).stderr


def test_the_key_is_public_and_stays(server: Served) -> None:
    first, second = (server.call("GET", "/api/v0/usage_records/key/").json() for _ in range(2))
    assert first == second
    assert len(bytes.fromhex(first["public_key"])) == 32
