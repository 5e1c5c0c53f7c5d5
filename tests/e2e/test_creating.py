"""Every flag of `create instance`, and what becomes of it."""

from pathlib import Path
from typing import Any

import pytest
from vastai import SyncClient
from vastai.data.instance import InstanceConfig

from tests.e2e.conftest import Market
from tests.e2e.journey import eventually
from tests.e2e.official import Official

pytestmark = [pytest.mark.client, pytest.mark.slow]

# Flags → what the instance's row then says.
FLAGS: dict[str, dict[str, Any]] = {
    "": {"image_runtype": "ssh", "disk_space": 10.0, "label": None, "onstart": None},
    "--ssh": {"image_runtype": "ssh_proxy"},
    "--ssh --direct": {"image_runtype": "ssh_direc ssh_proxy"},
    "--jupyter": {"image_runtype": "jupyter_proxy ssh_proxy"},
    "--jupyter --direct --jupyter-lab --jupyter-dir /work": {
        "image_runtype": "jupyter_direc ssh_direc ssh_proxy"
    },
    "--jupyter-lab": {"image_runtype": "jupyter_proxy ssh_proxy"},
    "--disk 3.5": {"disk_space": 3.5},
    "--label mine": {"label": "mine"},
    "--onstart-cmd 'echo one; echo two'": {"onstart": "echo one; echo two"},
    "--onstart {script}": {"onstart": "echo from a file\n"},
    "--env '-e A=b -e C=\"d e\" -p 8080:8080 -p 53:53/udp -h box'": {
        "extra_env": {
            "A": "b", "C": "d e", "-p 8080:8080": "1", "-p 53:53/udp": "1", "-h": "box",
        }
    },
    "--extra '-e X=y -p 90:90'": {"extra_env": {"X": "y", "-p 90:90": "1"}},
    "--lang-utf8 --python-utf8": {
        "extra_env": {"LANG": "C.UTF-8", "PYTHONIOENCODING": "utf-8"}
    },
    "--login '-u me -p secret registry.example.org'": {"image_uuid": "debian"},
    "--force --cancel-unavail": {"intended_status": "running"},
    "--entrypoint bash --user nobody --args -c 'sleep 1'": {
        "image_runtype": "args", "image_args": ["-c", "sleep 1"], "onstart": "bash",
    },
    "--args one two": {"image_runtype": "args", "image_args": ["one", "two"], "onstart": None},
}  # fmt: skip

REFUSED = {
    "--image ''": "Say which image to run",
    "--image 'a b'": "is not the name of an image",
    "--image debian --disk 0": "disk must be above 0",
    "--image debian --disk 100000000": "disk",
    "--image debian --extra=--privileged": "'--privileged' is not allowed",
    "--image debian --env '-e A B'": "",
    "--image debian --env '-e X=1 -h a_b'": "is not a hostname",
    "--image debian --env '-v V.999:/data'": "999",
    "--image debian --env '-v V.x:/data'": "is not a mount like V.123:/data",
    "--image debian --login nonsense": "image_login reads like",
    "--image debian --user nobody": "over SSH and Jupyter you are root",
    "--image debian --label {long}": "at most 1024",
    "--image debian --bid_price 1000": "from 0.001 to",
    "--template_hash 0123": "There is no template",
    "--image debian --create-volume 999 --mount-path /data": "999",
}


@pytest.fixture
def offer(renter: Official) -> str:
    return eventually(lambda: renter.ok("search offers num_gpus=1 -o id- --limit 1").table())[0][
        "ID"
    ]


@pytest.fixture
def words(tmp_path: Path) -> dict[str, str]:
    """What stands in braces in the tables."""
    script = tmp_path / "start.sh"
    script.write_text("echo from a file\n")
    return {"script": str(script), "long": "x" * 1_025}


@pytest.mark.parametrize("flags", FLAGS)
def test_a_flag(renter: Official, offer: str, words: dict[str, str], flags: str) -> None:
    line = f"create instance {offer} --image debian {flags.format(**words)}"
    made = renter.raw(line)["new_contract"]
    row = renter.raw(f"show instance {made}")
    wanted = FLAGS[flags]
    assert {name: row[name] for name in wanted} == wanted
    assert "secret" not in str(row)
    renter.ok(f"destroy instance {made} -y")


@pytest.mark.parametrize("flags", REFUSED)
def test_a_flag_that_is_refused(
    renter: Official, offer: str, words: dict[str, str], flags: str
) -> None:
    done = renter.run(f"create instance {offer} {flags.format(**words)}")
    if REFUSED[flags]:
        assert "Failed with error 4" in done.err, done
        assert REFUSED[flags] in done.err
    left = [row["id"] for row in renter.raw("show instances")]
    for one in left:
        renter.ok(f"destroy instance {one} -y")
    assert bool(left) == (not REFUSED[flags])


def test_launching(renter: Official) -> None:
    line = "launch instance -g RTX_4090 -n 2 -i debian -d 5 -r Europe --ssh --label launched"
    said = renter.ok(line, "--env", "-e A=b").out
    assert "Instance launched successfully: " in said
    (row,) = renter.raw("show instances --label launched")
    assert (row["num_gpus"], row["gpu_name"], row["disk_space"]) == (2, "RTX 4090", 5.0)
    assert (row["extra_env"], row["geolocation"][-2:]) == ({"A": "b"}, "DE")
    renter.ok(f"destroy instance {row['id']} -y")
    nowhere = renter.run("launch instance -g RTX_4090 -n 1 -i debian -r Africa").out
    assert "Failed to launch instance: no_such_ask, no_such_ask: No offer matches" in nowhere


@pytest.fixture
def small(pretend: Market) -> SyncClient:
    return SyncClient(api_key=pretend.keys["renter"], vast_server=pretend.url)


def test_the_small_client_rents_and_destroys(small: SyncClient, offer: str) -> None:
    config = InstanceConfig(image="debian", disk=2, label="small", target_state="stopped")
    made = small.create_instance(int(offer), config)
    assert (made.label, made.intended_status) == ("small", "stopped")
    assert [one.id for one in small.show_instances()] == [made.id]
    made.destroy()
    assert small.show_instances() == []
