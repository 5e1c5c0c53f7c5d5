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


NOTHING = "ip link set lo up && echo 0 > /proc/sys/net/ipv4/ip_forward"
ANOTHERS = f"""{NOTHING} && ip link add br-0123456789ab type bridge
iptables -N DOCKER-USER && iptables -A FORWARD -j DOCKER-USER && ip6tables -N DOCKER-USER"""


@pytest.mark.parametrize("before", [NOTHING, ANOTHERS], ids=["nothing", "another engine's"])
def test_an_engine_of_our_own_leaves_what_was_there(tmp_path: Path, before: str) -> None:
    socket = tmp_path / "docker.sock"
    done = subprocess.run(
        [
            "unshare",
            "--net",
            "sh",
            "-c",
            f'{before}\nexec "$@"',
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
    was, during, after = json.loads(done.stdout.strip().splitlines()[-1])
    assert "docker0" in during["links"]
    assert any("DOCKER" in rule for rule in during["rules"])
    if before == NOTHING:
        assert after == was
    else:
        # The rules in the other's chains cannot be told from ours: they are left to it.
        assert "br-0123456789ab" in after["links"]
        assert after["links"] == was["links"]
        assert "-A FORWARD -j DOCKER-USER" in after["rules"]
    assert not socket.exists()
    assert not list(Path("/run").glob("mercato-docker-*"))
