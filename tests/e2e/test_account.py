"""An account with the official client: keys and what they may, variables, SSH keys, templates."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Market
from tests.e2e.journey import eventually, key_pair
from tests.e2e.official import Done, Official

pytestmark = [pytest.mark.client, pytest.mark.slow]


def made_key(renter: Official, tmp_path: Path, permissions: dict[str, Any]) -> tuple[int, str]:
    """Make an API key with these permissions: its id and its secret."""
    file = tmp_path / "permissions.json"
    file.write_text(json.dumps({"api": permissions}))
    said = renter.ok(f"create api-key --name limited --permission_file {file}").out
    found = re.search(r"'id': (\d+), 'key': '(\w+)'", said)
    assert found is not None, said
    return int(found[1]), found[2]


def test_a_key_may_do_what_it_was_given_and_nothing_else(renter: Official, tmp_path: Path) -> None:
    number, secret = made_key(renter, tmp_path, {"misc": {}, "user_read": {}})
    assert renter.run("show user", key=secret).code == 0
    assert "renter@localhost" in renter.run("show user", key=secret).out
    assert renter.run("search offers", key=secret).table()
    for line, lacks in (
        ("show instances --raw", "instance_read"),
        ("create env-var A b", "user_write"),
        ("create instance 258 --image x", "instance_write"),
        ("show invoices-v1 -c --raw", "billing_read"),
        ("show machines", "machine_read"),
        ("delete api-key 1", "user_write"),
    ):
        assert (
            f"403: This API key lacks the permission '{lacks}'"
            in (renter.run(line, key=secret).err.replace('\\"', '"'))
            or json.loads(renter.run(line, key=secret).err)["status_code"] == 403
        ), line
    shown = renter.ok(f"show api-key {number}").out
    assert "'permissions': {'api': {'misc': {}, 'user_read': {}}}" in shown
    assert secret not in shown
    assert secret not in renter.ok("show api-keys").out
    assert "out of use" in renter.ok(f"delete api-key {number}").out
    said = renter.run("show user", key=secret).err
    assert said.startswith("Failed with error 401: Invalid user key")


def test_a_key_with_a_constraint_reads_the_logs_of_one_instance(
    renter: Official, tmp_path: Path
) -> None:
    _, secret = made_key(
        renter,
        tmp_path,
        {"instance_read": {"api.instance.request_logs": {"constraints": {"id": {"eq": 1}}}}},
    )
    assert "404" in renter.run("logs 1", key=secret).err
    assert "403" in renter.run("logs 2", key=secret).err


def test_permissions_that_are_none_are_refused(renter: Official, tmp_path: Path) -> None:
    for wrong in ("manage_instances", "operator"):
        file = tmp_path / "permissions.json"
        file.write_text(json.dumps({"api": {wrong: {}}}))
        assert "400: Unknown category" in renter.refused(
            f"create api-key --name x --permission_file {file}"
        )


@pytest.fixture
def somebody(pretend: Market) -> Iterator[Official]:
    """Somebody else, with an account of their own."""
    with pretend.somebody() as official:
        yield official


def test_a_reset_key_takes_the_place_of_the_old_one(somebody: Official) -> None:
    said = somebody.ok("reset api-key").out
    new = said.removeprefix("New api-key: ").strip()
    assert re.fullmatch(r"[0-9a-f]{64}", new)
    assert "401: Invalid user key" in somebody.run("show user").err
    assert somebody.run("show user", key=new).code == 0


def test_variables_are_kept_masked_and_set_inside(renter: Official) -> None:
    assert "TOKEN is set" in renter.ok("create env-var token s3cr3t").out
    assert renter.ok("show env-vars -s").out.strip()
    assert "s3cr3t" not in renter.ok("show env-vars -s").out
    assert renter.raw("show env-vars")["TOKEN"]
    assert "TOKEN is there already" in renter.refused("create env-var TOKEN x")
    assert "TOKEN is changed" in renter.ok("update env-var TOKEN other").out
    assert "There is no variable NONE" in renter.refused("update env-var NONE x")
    assert "TOKEN is deleted" in renter.ok("delete env-var token").out
    assert "There is no variable TOKEN" in renter.refused("delete env-var TOKEN")
    assert "letters, digits" in renter.refused("create env-var 'A B' x")


def test_ssh_keys(renter: Official, tmp_path: Path) -> None:
    path, public = key_pair(tmp_path, "one")
    said = renter.ok("create ssh-key", public).out
    number = int(re.findall(r"'id': (\d+)", said)[0])
    assert {"id": number, "public_key": public}.items() <= next(
        row.items() for row in renter.raw("show ssh-keys") if row["id"] == number
    )
    _, other = key_pair(tmp_path, "two")
    (tmp_path / "two.pub").write_text(other)
    renter.ok(f"update ssh-key {number} {tmp_path / 'two.pub'}")
    assert [row["key"] for row in renter.raw("show ssh-keys") if row["id"] == number] == [other]
    assert "is not a public key" in renter.refused("create ssh-key", str(path))
    assert "private key" in renter.refused("create ssh-key", path.read_text())
    renter.ok(f"delete ssh-key {number}")
    assert number not in {row["id"] for row in renter.raw("show ssh-keys")}
    assert "There is no SSH key" in renter.refused(f"delete ssh-key {number}")


def test_a_key_pair_is_made_when_none_is_given(renter: Official) -> None:
    renter.ok("create ssh-key -y")
    public = (renter.home / ".ssh" / "id_ed25519.pub").read_text().strip()
    (number,) = [row["id"] for row in renter.raw("show ssh-keys") if row["key"] == public]
    renter.ok(f"delete ssh-key {number}")


def template_hash(said: Done) -> tuple[int, str]:
    found = re.search(
        r"['\"]id['\"]: (\d+).*?['\"]hash_id['\"]: ['\"](\w+)['\"]", said.out, re.DOTALL
    )
    assert found is not None, said
    return int(found[1]), found[2]


def test_templates_are_made_searched_changed_and_deleted(renter: Official) -> None:
    made = renter.ok(
        "create template --name pytorch --image debian --image_tag 12 --ssh --direct"
        " --disk_space 20 --desc 'All of it'",
        "--env", "-e A=template -p 80:80", "--onstart-cmd", "echo from the template",
        "--search_params", "gpu_ram>=24 num_gpus=1",
    )  # fmt: skip
    assert made.out.startswith("New Template: {")
    number, named = template_hash(made)
    assert re.fullmatch(r"[0-9a-f]{32}", named)
    (row,) = renter.raw("search templates", f"hash_id={named}")
    assert (row["id"], row["image"], row["tag"]) == (number, "debian", "12")
    assert (row["use_ssh"], row["ssh_direct"], row["private"]) == (True, True, True)
    assert row["recommended_disk_space"] == 20.0
    filters = json.loads(row["extra_filters"])
    assert filters["gpu_ram"] == {"gte": 24_000.0}
    assert filters["verified"] == {"eq": True}
    for query in ("name=pytorch", "image=debian use_ssh=true", f"id={number}", "private=True"):
        assert number in {one["id"] for one in renter.raw("search templates", query)}, query
    assert renter.raw("search templates", "name=nothing") == []

    changed = renter.ok(f"update template {named} --name pytorch --image debian --image_tag 13")
    again, other = template_hash(changed)
    assert again == number
    assert other != named
    assert renter.raw("search templates", f"hash_id={named}") == []
    (row,) = renter.raw("search templates", f"hash_id={other}")
    assert (row["tag"], row["env"], row["use_ssh"]) == ("13", None, False)
    assert "needs a name" in renter.run("create template --image debian").out
    assert "not allowed" in renter.run("create template --name x --image y --env=--privileged").out
    assert "is deleted" in renter.ok(f"delete template --hash-id {other}").out
    assert renter.raw("search templates", f"id={number}") == []
    assert "There is no template" in renter.run(f"delete template --template-id {number}").out


def test_what_a_request_says_wins_over_its_template(renter: Official) -> None:
    made = renter.ok(
        "create template --name base --image debian:12 --ssh --direct --disk_space 7",
        "--env", "-e A=template -e B=template -p 80:80", "--onstart-cmd", "echo template",
    )  # fmt: skip
    number, named = template_hash(made)
    offers = [row["ID"] for row in renter.ok("search offers num_gpus=1 -o id").table()]
    plain = renter.raw(f"create instance {offers[0]} --template_hash {named}")["new_contract"]
    other = renter.raw(
        f"create instance {offers[1]} --template_hash {named} --image alpine:3 --disk 3"
        " --label mine",
        "--env", "-e B=request -e C=request -p 80:80", "--onstart-cmd", "echo request",
    )["new_contract"]  # fmt: skip
    one, two = renter.raw(f"show instance {plain}"), renter.raw(f"show instance {other}")
    assert (one["image_uuid"], one["onstart"]) == ("debian:12", "echo template")
    assert one["extra_env"] == {"A": "template", "B": "template", "-p 80:80": "1"}
    # The client always sends a disk: ten GB where nobody says otherwise.
    assert (one["disk_space"], two["disk_space"]) == (10.0, 3.0)
    assert (two["image_uuid"], two["onstart"], two["label"]) == (
        "alpine:3", "echo request", "mine",
    )  # fmt: skip
    assert two["extra_env"] == {
        "A": "template", "B": "request", "C": "request", "-p 80:80": "1",
    }  # fmt: skip
    for row in (one, two):
        assert (row["template_id"], row["template_hash_id"]) == (number, named)
        assert row["image_runtype"] == "ssh_direc ssh_proxy"
    (template,) = renter.raw("search templates", f"id={number}")
    assert template["count_created"] == 2
    renter.ok(f"destroy instances {plain} {other} -y")
    renter.ok(f"delete template --template-id {number}")


def test_the_user_is_shown_and_changed(renter: Official, tmp_path: Path) -> None:
    user = renter.raw("show user")
    assert user["email"] == "renter@localhost"
    assert 0 < user["credit"] <= 100
    assert "api_key" not in user
    file = tmp_path / "user.json"
    file.write_text(json.dumps({"fullname": "R. Enter", "billaddress_city": "Torino"}))
    renter.ok(f"set user --file {file}")
    changed = renter.raw("show user")
    assert (changed["fullname"], changed["billaddress_city"]) == ("R. Enter", "Torino")
    file.write_text(json.dumps({"credit": 1_000_000}))
    assert "Unknown field 'credit'" in renter.refused(f"set user --file {file}")


def test_subaccounts_and_credit_for_others(renter: Official, somebody: Official) -> None:
    email = somebody.raw("show user")["email"]
    made = renter.ok(
        f"create subaccount --email sub-{email} --username sub --password x --type client"
    )
    assert "'success': True" in made.out
    assert f"sub-{email}" in {row["email"] for row in renter.raw("show subaccounts")}
    again = renter.run(
        f"create subaccount --email sub-{email} --username sub --password x --type client"
    )
    assert "There is an account" in again.out
    assert f"Sent 5.0 to {email}" in renter.ok(f"transfer credit {email} 5", stdin="y\n").out
    assert somebody.raw("show user")["credit"] == 5.0
    assert "Sent" not in renter.run(f"transfer credit {email} 5", stdin="n\n").out
    for line, said in (
        (f"transfer credit {email} 100000 --skip", "cannot be given"),
        ("transfer credit nobody@example.org 1 --skip", "There is no other account"),
        (f"transfer credit {email} 0.001 --skip", "at least 0.01"),
    ):
        assert said in renter.run(line).out, line
    (received,) = somebody.raw("show invoices-v1 -i")["results"]
    assert (received["type"], received["amount"]) == ("transfer", 5.0)
    assert received["description"] == "Received from renter@localhost"


def test_what_was_done_is_in_the_audit_log_without_secrets(renter: Official) -> None:
    renter.ok("create env-var LOGGED hush-hush")
    renter.ok("delete env-var LOGGED")
    lines = renter.raw("show audit-logs")
    assert lines[0]["api_route"] == "DELETE /api/v0/secrets"
    assert lines[1]["api_route"] == "POST /api/v0/secrets"
    assert "LOGGED" in lines[1]["args"]
    assert "hush-hush" not in json.dumps(lines)
    assert renter.ok("show audit-logs").out
    assert [row["ip"] for row in renter.raw("show ipaddrs")] == ["127.0.0.1"]


def test_pages_of_instances(renter: Official) -> None:
    offers = [row["ID"] for row in renter.ok("search offers num_gpus=1 -o id --limit 3").table()]
    renter.ok(f"create instances {' '.join(offers)} --image debian --label paged")
    rows = renter.raw("show instances --label paged")
    ids = [row["id"] for row in rows]
    assert ids == sorted(ids)
    assert len(ids) == 3
    first = renter.raw("show instances --label paged --limit 2")
    assert [row["id"] for row in first["instances"]] == ids[:2]
    assert (first["total_instances"], first["label_counts"]["paged"]) == (3, 3)
    second = renter.raw(f"show instances --label paged --limit 2 -t {first['next_token']}")
    assert [row["id"] for row in second["instances"]] == ids[2:]
    assert second["next_token"] is None
    backwards = renter.raw("show instances --label paged --order-by 'id desc'")
    assert [row["id"] for row in backwards] == ids[::-1]
    assert renter.raw("show instances --gpu-name 'RTX 4090' --label paged") == rows or ids
    for options, number in (("--verification verified", 3), ("--gpu-name nothing", 0)):
        assert len(renter.raw(f"show instances --label paged {options}")) == number
    eventually(lambda: len(renter.raw("show instances --label paged --status running")) == 3)
    assert set(map(int, renter.ok("show instances-v1 -q --label paged").out.split())) == set(ids)
    table = renter.ok("show instances --label paged -v --cols id,status,ssh,msg --no-color").out
    assert all(f" {one} " in table for one in ids)
    assert "invalid_token" in renter.run("show instances --raw -l 1 -t nonsense").err or (
        "400" in renter.run("show instances --raw -l 1 -t nonsense").err
    )
    renter.ok(f"destroy instances {' '.join(map(str, ids))} -y")
    assert renter.raw("show instances --label paged") == []
