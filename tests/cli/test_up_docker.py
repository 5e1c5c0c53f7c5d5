"""A Docker Engine that `mercato up` starts itself is gone afterwards, with all that it made.

In a network namespace of its own, so that the engine of this machine is not disturbed.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.docker,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a Docker Engine"),
]

SCRIPT = """
import asyncio, json, pathlib, subprocess, sys
from mercato.cli.up.docker import docker
from mercato.cli.up.place import Place
from mercato.cli.up.say import Say

def state():
    def said(*command):
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rules = [each for each in said("iptables-save").splitlines() if not each.startswith(("#", ":"))]
    links = [each.split(": ")[1] for each in said("ip", "-o", "link").splitlines()]
    forward = pathlib.Path("/proc/sys/net/ipv4/ip_forward").read_text().strip()
    return {"rules": [each for each in rules if each.startswith("-")], "links": links,
            "forward": forward}

async def main():
    place = Place(pathlib.Path(sys.argv[1]))
    place.make()
    before = state()
    async with docker(place, Say()) as engine:
        assert engine.ours
        subprocess.run(["docker", "network", "create", "-o",
                        "com.docker.network.bridge.name=mercato0", "mercato"], check=True)
        during = state()
    print(json.dumps([before, during, state()]))

asyncio.run(main())
"""


def test_an_engine_of_our_own_leaves_nothing_behind(tmp_path: Path) -> None:
    socket = tmp_path / "docker.sock"
    prepare = "ip link set lo up && echo 0 > /proc/sys/net/ipv4/ip_forward"
    done = subprocess.run(
        [
            "unshare",
            "--net",
            "sh",
            "-c",
            f'{prepare} && exec "$@"',
            "sh",
            sys.executable,
            "-c",
            SCRIPT,
            str(tmp_path / "data"),
        ],
        env=os.environ | {"DOCKER_HOST": f"unix://{socket}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    before, during, after = json.loads(done.stdout.strip().splitlines()[-1])
    assert "docker0" in during["links"]
    assert any("DOCKER" in rule for rule in during["rules"])
    assert after == before
    assert not socket.exists()
    assert not list(Path("/run").glob("mercato-docker-*"))
