"""A renter's whole journey with the official client, in real containers.

One market for the module: this machine with its pretend GPUs, as `mercato up` lists it.
"""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from vastai import VastAI

from tests.e2e.conftest import Market, market
from tests.e2e.journey import eventually, key_pair, scp, ssh
from tests.e2e.official import Official

pytestmark = [pytest.mark.client, pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def real() -> Iterator[Market]:
    """This machine on sale, its containers real."""
    with market("--engine=docker") as running:
        yield running


@pytest.fixture(scope="module")
def client(real: Market) -> Iterator[Official]:
    with real.official("renter") as official:
        yield official


def one_gpu_offers(client: Official) -> list[int]:
    return [int(row["ID"]) for row in client.ok("search offers num_gpus=1").table()]


def both_gpus(client: Official) -> list[int]:
    """The machine's two offers of one GPU, once what was on them is known to be gone."""
    return sorted(eventually(lambda: ids if len(ids := one_gpu_offers(client)) == 2 else None))


def shown(client: Official, instance: int) -> dict[str, Any]:
    row: dict[str, Any] = client.raw(f"show instance {instance}")
    return row


def until(client: Official, instance: int, **wanted: Any) -> dict[str, Any]:
    """The instance's row once it has these values."""

    def look() -> dict[str, Any] | None:
        row = shown(client, instance)
        return row if all(row[name] == value for name, value in wanted.items()) else None

    return eventually(look)


def executed(client: Official, instance: int, command: str) -> str:
    """The output of a command run by `vastai execute`, out of the object that it prints."""
    printed = client.ok(f"execute {instance}", command).out
    found = re.search(r"'output': (?:'(.*)'|\"(.*)\"), 'exit_code': 0", printed)
    assert found is not None, printed
    return (found[1] or found[2] or "").replace("\\n", "\n")


def containers(market: Market, instance: int) -> list[str]:
    """The containers of an instance; other markets may use the same Docker Engine."""
    identity = json.loads((market.home / "data" / "machine-1" / "machine.json").read_text())
    labels = (f"mercato.owner={identity['owner']}", f"mercato.instance={instance}")
    filters = [word for label in labels for word in ("--filter", f"label={label}")]
    done = subprocess.run(
        ["docker", "ps", "-aq", *filters],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


@pytest.fixture(scope="module")
def mine(client: Official, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SSH key that the account has."""
    key, public = key_pair(tmp_path_factory.mktemp("keys"), "mine")
    assert "'success': True" in client.ok("create ssh-key", public).out
    return key


@pytest.fixture
def instance(client: Official, real: Market, mine: Path) -> Iterator[int]:  # noqa: ARG001 - the key is there before
    """An instance that runs, destroyed in the end."""
    started = client.ok(
        f"create instance {one_gpu_offers(client)[0]} --image {real.image} --disk 4 --ssh --direct"
        " --label train",
        "--env",
        "-e GREETING=hello -e 'SPACED=two words' -p 8000:8000 -h box",
        "--onstart-cmd",
        "echo begun >> /root/starts; echo first line; echo second line",
    ).out
    assert started.startswith("Started. {'success': True, 'new_contract': ")
    made = int(re.findall(r"'new_contract': (\d+)", started)[0])
    until(client, made, actual_status="running")
    yield made
    assert f"destroying instance {made}." in client.ok(f"destroy instance {made} -y").out
    eventually(lambda: not containers(real, made))


def test_it_is_shown_and_reached(
    client: Official, real: Market, instance: int, mine: Path, tmp_path: Path
) -> None:
    row = shown(client, instance)
    assert (row["image_uuid"], row["label"], row["num_gpus"]) == (real.image, "train", 1)
    assert row["image_runtype"] == "ssh_direc ssh_proxy"
    assert row["extra_env"] == {
        "GREETING": "hello", "SPACED": "two words", "-p 8000:8000": "1", "-h": "box",
    }  # fmt: skip
    assert set(row["ports"]) == {"22/tcp", "8000/tcp"}
    listed = client.ok("show instances --no-color").out
    assert f" {instance} " in listed
    assert "running" in listed
    assert client.ok("show instances -q").out.split() == [str(instance)]

    url = client.ok(f"ssh-url {instance}").out.strip()
    assert re.fullmatch(r"ssh://root@[\d.]+:\d+", url), url
    inside = ssh(url, mine, 'echo "$GREETING $SPACED $CONTAINER_ID"; hostname; exit 7')
    assert inside.returncode == 7, inside
    assert inside.stdout.splitlines() == [f"hello two words {instance}", "box"]
    sent = tmp_path / "sent"
    sent.write_text("carried\n")
    copy = client.ok(f"scp-url {instance}").out.strip()
    assert copy == url.replace("ssh://", "scp://")
    scp(str(sent), f"{copy}//root/received", mine)
    assert executed(client, instance, "cat /root/received") == "carried\n"
    assert "received" in executed(client, instance, "ls /root")

    logs = client.ok(f"logs {instance}").out
    assert logs.index("first line") < logs.index("second line")
    assert client.ok(f"logs {instance} --tail 1").out.strip() == "second line"
    assert client.ok(f"logs {instance} --filter first").out.strip() == "first line"
    assert "level=info" in client.ok(f"logs {instance} --daemon-logs").out


def test_it_is_stopped_started_and_made_anew(client: Official, instance: int) -> None:
    assert client.ok(f"label instance {instance} other").out.strip() == (
        f"label for {instance} set to other."
    )
    assert client.ok(f"stop instance {instance}").out.strip() == f"stopping instance {instance}."
    stopped = until(client, instance, actual_status="stopped", cur_state="stopped")
    assert (stopped["label"], stopped["intended_status"]) == ("other", "stopped")
    assert client.ok(f"start instance {instance}").out.strip() == f"starting instance {instance}."
    until(client, instance, actual_status="running")
    eventually(lambda: starts(client, instance) == "2")
    assert "Rebooting" in client.ok(f"reboot instance {instance}").out
    eventually(lambda: starts(client, instance) == "3")
    assert "Recycling" in client.ok(f"recycle instance {instance}").out
    eventually(lambda: starts(client, instance) == "1")
    updated = client.ok(f"update instance {instance} --env", json.dumps({"GREETING": "changed"}))
    assert f"Instance {instance} updated successfully." in updated.out
    eventually(lambda: greeting(client, instance) == "changed two words")


def test_another_key_is_let_in_and_kept_out(
    client: Official, instance: int, mine: Path, tmp_path: Path
) -> None:
    url = client.ok(f"ssh-url {instance}").out.strip()
    other, public = key_pair(tmp_path, "other")
    assert ssh(url, other, "true").returncode != 0
    assert "'success': True" in client.ok(f"attach ssh {instance}", public).out
    eventually(lambda: ssh(url, other, "true").returncode == 0)
    known = {one["public_key"]: one["id"] for one in client.raw("show ssh-keys")}
    assert "'success': True" in client.ok(f"detach ssh {instance} {known[public]}").out
    eventually(lambda: ssh(url, other, "true").returncode != 0)
    assert ssh(url, mine, "true").returncode == 0


def test_it_is_billed_to_the_cent_and_gone_when_destroyed(
    client: Official, real: Market, instance: int
) -> None:
    def bill() -> dict[str, Any]:
        charges = client.raw("show invoices-v1 --charges")["results"]
        found: dict[str, Any] = next(
            one for one in charges if one["source"] == f"instance-{instance}"
        )
        return found

    first = bill()
    assert {item["type"] for item in first["items"]} >= {"gpu", "disk"}
    assert first["amount"] == pytest.approx(sum(item["amount"] for item in first["items"]))
    assert client.raw("show user")["credit"] < 100.0 - first["amount"]
    assert eventually(lambda: bill()["amount"] > first["amount"])
    refused = client.run(f"destroy instance {instance}", stdin="n\n")
    assert "Aborted." in refused.out
    gone = client.ok(f"destroy instance {instance}", stdin="y\n").out
    assert f"destroying instance {instance}." in gone
    eventually(lambda: not containers(real, instance))
    assert client.run(f"show instance {instance}").code == 1
    assert client.ok("show instances -q").out.split() == []
    last = bill()["amount"]
    assert bill()["amount"] == last


def starts(client: Official, instance: int) -> str | None:
    """How often its start script has run, as the file in it says; None while it cannot say."""
    done = client.run(f"execute {instance}", "wc -l < /root/starts")
    found = re.search(r"'output': '(\d+)\\n', 'exit_code': 0", done.out)
    return found[1] if found else None


def greeting(client: Official, instance: int) -> str | None:
    done = client.run(f"execute {instance}", 'echo "$GREETING $SPACED"')
    found = re.search(r"'output': '(.*)\\n', 'exit_code': 0", done.out)
    return found[1] if found else None


def test_an_image_runs_its_own_entrypoint_with_arguments(client: Official, real: Market) -> None:
    offer = one_gpu_offers(client)[0]
    made = client.raw(
        f"create instance {offer} --image {real.image} --disk 1 --entrypoint bash --user nobody"
        " --args -c",
        'echo "as $(id -un) with $0"; exit 3',
        "argument",
    )
    row = until(client, made["new_contract"], actual_status="exited")
    assert row["image_runtype"] == "args"
    assert client.ok(f"logs {row['id']}").out.strip() == "as nobody with argument"
    client.ok(f"destroy instance {row['id']} -y")
    eventually(lambda: not containers(real, row["id"]))


def test_several_at_once(client: Official, real: Market) -> None:
    offers = both_gpus(client)
    asked = " ".join(map(str, offers))
    client.ok(f"create instances {asked} --image {real.image} --disk 1 --label pair")
    made = client.raw("show instances --label pair")
    assert len(made) == 2
    ids = " ".join(str(row["id"]) for row in made)
    for row in made:
        until(client, row["id"], actual_status="running")
    client.ok(f"stop instances {ids}")
    for row in made:
        until(client, row["id"], actual_status="stopped")
    client.ok(f"start instances {ids}")
    for row in made:
        until(client, row["id"], actual_status="running")
    client.ok(f"destroy instances {ids} -y")
    for row in made:
        eventually(lambda row=row: not containers(real, row["id"]))  # type: ignore[misc]
    assert both_gpus(client) == offers


def test_the_sdk_goes_the_same_way(real: Market) -> None:
    vast = VastAI(api_key=real.keys["renter"], server_url=real.url)
    offers = vast.search_offers(query="num_gpus=1", order="dph-", limit=1, storage=10)
    (offer,) = offers
    made = vast.create_instance(
        id=offer["id"], image=real.image, disk=2, label="sdk", ssh=True, direct=True,
        env="-e A=b", onstart_cmd="echo from the sdk",
    )  # fmt: skip
    instance = made["new_contract"]
    assert made["success"]

    def running() -> Any:
        return vast.show_instance(id=instance)["actual_status"] == "running"

    eventually(running)
    assert [row["id"] for row in vast.show_instances()] == [instance]
    assert vast.execute(id=instance, command="echo $A").strip() == "b"
    assert vast.logs(instance, tail=1).strip() == "from the sdk"
    assert vast.ssh_url(instance).startswith("ssh://root@")
    assert vast.label_instance(id=instance, label="renamed")["success"]
    assert vast.stop_instance(id=instance)["success"]
    eventually(lambda: vast.show_instance(id=instance)["actual_status"] == "stopped")
    assert vast.start_instance(id=instance)["success"]
    eventually(running)
    assert vast.reboot_instance(id=instance)["success"]
    assert vast.recycle_instance(id=instance)["success"]
    assert vast.destroy_instance(id=instance)["success"]
    assert vast.show_instance(id=instance) is None
    eventually(lambda: not containers(real, instance))
