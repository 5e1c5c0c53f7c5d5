"""Every command of the official client, once: it works, or says clearly why not.

The table stands in the order of the client's own help. A command whose outcome is COMING belongs to
a part of the market that is being built: it must end well and say something.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.conftest import pretended
from tests.e2e.journey import eventually, key_pair
from tests.e2e.official import Done, Official
from tests.e2e.test_teams import team

pytestmark = [pytest.mark.client, pytest.mark.slow]

WORKS = ""
COMING = "coming"


@dataclass(frozen=True)
class Case:
    """A command line with {names} of the world, and its outcome: WORKS, COMING or what it says."""

    line: str
    outcome: str = WORKS
    stdin: str = ""
    role: str = "renter"
    code: int = 0

    @property
    def reads(self) -> bool:
        """Whether it can be asked for JSON too without changing anything."""
        return self.outcome == WORKS and self.line.split()[0] in {"show", "search"}


def host(line: str, outcome: str = WORKS, stdin: str = "") -> Case:
    return Case(line, outcome, stdin, role="host")


CASES = [
    # Search
    Case("search offers"),
    Case("search benchmarks"),
    Case("search templates"),
    Case("search invoices"),
    # Instances
    Case("show instances"),
    Case("show instance {running}"),
    Case("create instance {offers[0]} --image debian"),
    Case("create instances {offers[1]} --image debian"),
    Case("launch instance -g H100_SXM -n 1 -i debian"),
    Case("label instance {running} new"),
    Case("start instance {paused}"),
    Case("start instances {paused}"),
    Case("stop instance {paused}"),
    Case("stop instances {paused}"),
    Case("reboot instance {running}"),
    Case("recycle instance {running}"),
    Case("update instance {running} --image debian:13"),
    Case("destroy instance {doomed} -y"),
    Case("destroy instances {doomed_too} -y"),
    Case("prepay instance {running} 0.01"),
    Case("change bid {running} --price 0.1", "has no bid to change"),
    Case("execute {running} ls"),
    Case("logs {running}"),
    Case("ssh-url {running}"),
    Case("scp-url {running}"),
    Case("take snapshot {running} --repo a/b", COMING),
    Case("run benchmarks", "one of --template_id or --template_hash is required", code=1),
    # Host machines
    host("show machines"),
    host("show machine {machine}"),
    host("show maints -i {machine}"),
    host("list machine {machine} -g 0.25 -s 0.15 -u 0.01 -d 0.01 -b 0.10 --raw"),
    host("list machines {machine} -g 0.25 -s 0.15 -u 0.01 -d 0.01 -b 0.10 --raw"),
    host("unlist machine 999", "404: "),
    host("set min-bid {machine} --price 0.10"),
    host("set defjob {machine} --price_gpu 0.1 --image debian --args sleep 1000"),
    host("remove defjob 999", "404: "),
    host("schedule maint {machine} --sdate 4000000000 --duration 1", stdin="y\n"),
    host("cancel maint {machine}", stdin="y\n"),
    host("cleanup machine {machine}"),
    host("defrag machines {machine}", COMING),
    host("delete machine 999", "404: "),
    host("reports {machine}"),
    Case("self-test machine 999", "No on-demand offer found", role="host", code=1),
    host("dump-logs 999"),
    host("show network-disks"),
    host("add network-disk {machine} /mnt", COMING),
    # Teams
    Case("create team --team-name ours"),
    Case("destroy team", role="doomed"),
    Case("create team-role --name new --permissions {permissions}", role="team"),
    Case("show team-role reader", role="team"),
    Case("show team-roles", role="team"),
    Case("update team-role {role} --name reader --permissions {permissions}", role="team"),
    Case("remove team-role spare", role="team"),
    Case("invite member --email host@localhost --role reader", role="team"),
    Case("show members", role="team"),
    Case("remove member 999999", "404: The team has no member", role="team"),
    # Auth & keys
    Case("create api-key --name one --permission_file {permissions}"),
    Case("show api-keys"),
    Case("show api-key {api_key}"),
    Case("delete api-key 999999", "404: There is no API key"),
    Case("reset api-key", role="somebody"),
    Case("create ssh-key -y"),
    Case("show ssh-keys"),
    Case("update ssh-key {ssh_key} {public_file}"),
    Case("delete ssh-key 999999", "404: There is no SSH key"),
    Case("attach ssh {running} {public_file}"),
    Case("detach ssh {running} 999999", "404: "),
    Case("set api-key 0123"),
    Case("set role client"),
    Case("create env-var ONE 1"),
    Case("show env-vars"),
    Case("update env-var NONE 1", "400: There is no variable NONE"),
    Case("delete env-var NONE", "400: There is no variable NONE"),
    Case("tfa status"),
    Case("tfa activate 123456 --secret x", COMING),
    Case("tfa login -c 123456", COMING, code=1),
    Case("tfa delete -c 123456", COMING, stdin="y\n"),
    Case("tfa send-sms", COMING),
    Case("tfa resend-sms --secret x", COMING),
    Case("tfa send-email", COMING),
    Case("tfa auth-new", COMING),
    Case("tfa totp-setup", COMING),
    Case("tfa update 1 --label x", COMING),
    Case("tfa regen-codes -c 123456", COMING, stdin="y\n"),
    Case("show audit-logs"),
    # Billing & account
    Case("show user"),
    Case("set user --file {user}"),
    Case("show ipaddrs"),
    Case("show subaccounts"),
    Case("create subaccount --email not-an-address --username x --password x", "e-mail address"),
    Case("transfer credit nobody@example.org 1 --skip", "There is no other account"),
    Case("show invoices"),
    Case("show invoices-v1 -c"),
    Case("show earnings", role="host"),
    Case("show deposit {running}"),
    Case("show scheduled-jobs"),
    Case("delete scheduled-job 999", COMING),
    # Serverless
    Case("show endpoints"),
    Case("create endpoint --endpoint_name one"),
    Case("update endpoint 999", "404: You have no endpoint 999"),
    Case("delete endpoint 999", "404: You have no endpoint 999"),
    Case("get endpt-logs 999", "404: there is no endpoint 999"),
    Case("get endpt-workers 999", "404: there is no endpoint 999"),
    Case("show workergroups"),
    Case(
        "create workergroup --endpoint_name none --template_hash none", "There is no template none"
    ),
    Case("update workergroup 999", "404: You have no worker group"),
    Case("update workers 999", "404: you have no worker group"),
    Case("delete workergroup 999", "404: You have no worker group"),
    Case("get wrkgrp-logs 999", "404: there is no worker group"),
    Case("show deployments"),
    Case("show deployment 999", "404: You have no deployment 999"),
    Case("show deployment-versions 999", "404: You have no deployment 999"),
    Case("start deployment 999", "404: You have no deployment 999"),
    Case("stop deployment 999", "404: You have no deployment 999"),
    Case("delete deployment 999", "404: You have no deployment 999"),
    Case("delete deployment --name none", "404: You have no deployment 'none'"),
    # Metrics
    host("show gpu-metrics", COMING),
    host("show gpu-trends", COMING),
    host("show gpu-locations", COMING),
    # Storage volumes
    Case("copy C.{running}:/a C.{paused}:/b", COMING),
    Case("cancel copy {running}", COMING),
    Case("cancel sync {running}", COMING),
    Case(
        "cloud copy --src /a --dst /b --instance {running} --connection 1"
        " --transfer 'Instance to Cloud'",
        COMING,
    ),
    Case("show connections"),
    Case("search volumes"),
    Case("create volume 999 -s 10", "404: no_such_ask"),
    Case("clone volume 998 999", "404: You have no volume 998"),
    Case("delete volume 999", "404: You have no volume 999"),
    Case("show volumes"),
    host("list volume {machine} -s 10"),
    host("list volumes {machine} -s 10"),
    host("unlist volume 999", "404: You have no volume offer"),
    Case("search network-volumes"),
    Case("create network-volume 999 -s 10", COMING),
    host("list network-volume 999", COMING),
    host("unlist network-volume 999", COMING),
    Case("show instance-backups"),
    Case("show instance-backup-files 999", COMING),
    # Templates
    Case("create template --name one --image debian"),
    Case("update template none --name one --image debian", "No template found", code=1),
    Case("delete template --template-id 999999", "There is no template"),
    # Other
    Case("help"),
    Case("show pending-price-increases"),
    Case("accept price-increase {running}", "no longer available", code=2),
    Case("reject price-increase {running}", "no longer available", code=2),
    Case("repl", stdin="exit\n"),
    Case("update", "managed installer", code=1),
    Case("uninstall -y", "managed installer", code=1),
]


RESTARTS = ("reboot instance", "recycle instance", "update instance")
"""Commands after which an instance does not run for a while, which the next one must not meet."""


@dataclass(frozen=True)
class World:
    """What the command lines name, and who types them."""

    names: dict[str, object]
    people: dict[str, Official]

    def do(self, case: Case, *more: str) -> Done:
        line = case.line.format(**self.names)
        done = self.people[case.role].run(line, *more, stdin=case.stdin)
        if line.startswith(RESTARTS):
            # It still shows "running" until its host has heard of it, but runs no command.
            ls = "execute {running} ls".format(**self.names)
            assert eventually(lambda: not _complains(self.people["renter"].run(ls))), done
        return done


def _complains(done: Done) -> bool:
    """Whether the client, which ends with 0 all the same, says that something went wrong."""
    return "Failed" in done.err or done.out.startswith(("Error", "Failed", "error", "An error"))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A market of this module's own: what its commands make stays."""
    with (
        pretended() as up,
        up.official("renter") as renter,
        up.official("host") as host,
        up.somebody() as somebody,
    ):
        names = _named(renter, host, tmp_path_factory.mktemp("world"))
        with team(renter, "world") as ours, team(renter, "doomed") as doomed:
            names["role"] = _roles(ours, names["permissions"])
            people = {"renter": renter, "host": host, "somebody": somebody}
            yield World(names, people | {"team": ours, "doomed": doomed})


def _roles(ours: Official, permissions: object) -> object:
    """Two roles of a team's own; the first one's id."""
    for name in ("reader", "spare"):
        ours.ok(f"create team-role --name {name} --permissions {permissions}")
    return json.loads(ours.ok("show team-role reader").out)["id"]


def _named(renter: Official, host: Official, folder: Path) -> dict[str, object]:
    """Four instances, offers for more, and one of each other thing that is named."""
    offers = [row["ID"] for row in renter.ok("search offers num_gpus=1 -o id").table()]
    assert len(offers) == 10
    made = [
        renter.raw(f"create instance {offer} --image debian --disk 1")["new_contract"]
        for offer in offers[:4]
    ]
    assert eventually(
        lambda: {renter.raw(f"show instance {one}")["actual_status"] for one in made} == {"running"}
    )
    instances = zip(("running", "paused", "doomed", "doomed_too"), made, strict=True)
    _, public = key_pair(folder, "first")
    renter.ok("create ssh-key", public)
    return {
        **dict(instances),
        "offers": offers[4:],
        "machine": host.raw("show machines")["machines"][0]["id"],
        "api_key": renter.raw("show api-keys")["apikeys"][0]["id"],
        "ssh_key": renter.raw("show ssh-keys")[-1]["id"],
        **_papers(folder),
    }


def _papers(folder: Path) -> dict[str, object]:
    permissions, user = folder / "permissions.json", folder / "user.json"
    permissions.write_text(json.dumps({"api": {"misc": {}}}))
    user.write_text(json.dumps({"fullname": "One"}))
    key_pair(folder, "second")
    return {"permissions": permissions, "user": user, "public_file": folder / "second.pub"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.line)
def test_a_command_ends_as_the_table_says(world: World, case: Case) -> None:
    done = world.do(case)
    if case.outcome == COMING:
        assert done.text.strip(), done
        return
    assert done.code == case.code, done
    assert case.outcome in done.text, done
    if case.outcome == WORKS:
        assert not _complains(done), done


@pytest.mark.parametrize("case", [one for one in CASES if one.reads], ids=lambda case: case.line)
def test_a_reading_command_answers_json(world: World, case: Case) -> None:
    done = world.do(case, "--raw")
    assert done.code == 0, done
    if case.line not in PRINTS_THE_SAME:
        json.loads(done.out)


PRINTS_THE_SAME = {
    "show api-key {api_key}", "show team-role reader",
    "show pending-price-increases",
}  # fmt: skip
"""Commands that take no notice of --raw."""


def test_the_table_has_every_command(world: World) -> None:
    names = world.people["renter"].names()
    assert len(names) == 147
    lines = [case.line for case in CASES]
    missing = [one for one in names if not any(f"{line} ".startswith(f"{one} ") for line in lines)]
    assert missing == []
