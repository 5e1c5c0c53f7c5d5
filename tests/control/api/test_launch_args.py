"""The words of `create instance` in a worker group: read, or refused with what to do instead."""

import pytest
from cryptography.fernet import Fernet
from vastai.cli.commands import instances as official

from mercato.control.api.launch_args import parse_launch_args, worker_launch
from mercato.control.secrets_box import SecretsBox
from mercato.control.store.templates import StoredTemplate
from mercato.market import errors
from mercato.market.ids import AccountId, TemplateId

pytestmark = pytest.mark.client

TEMPLATE = StoredTemplate(
    id=TemplateId(1),
    hash_id="0" * 32,
    creator_id=AccountId(1),
    name="llm",
    body={"image": "debian:12", "env": "-e WORKER_PORT=8000"},
    private=True,
    count_created=0,
    recent_create_at_ms=None,
    created_at_ms=0,
    updated_at_ms=0,
)


@pytest.mark.parametrize(
    "text",
    ["--disk", "--disk much", "--privileged", "--env 'unclosed", "--disk -1", "stray"],
)
def test_launch_args_that_cannot_be_read_are_refused(text: str) -> None:
    with pytest.raises(errors.InvalidRequest):
        parse_launch_args(text)


def test_launch_args_as_the_command_line_writes_them() -> None:
    args = parse_launch_args("--disk=32 --env '-e A=b' --ssh --direct --bid_price 0.2 --label x")
    assert (args.disk_gb, args.bid, args.label) == (32, 0.2, "x")
    assert args.request.env == "-e A=b"
    assert args.request.runtype == "ssh_direct ssh_proxy"
    assert parse_launch_args("--jupyter-lab --direct").request.runtype == "jupyter_direct ssh_proxy"
    lab = parse_launch_args("--jupyter-lab --jupyter-dir /work").request
    assert (lab.runtype, lab.use_jupyter_lab, lab.jupyter_dir) == ("jupyter_proxy", True, "/work")


def test_all_that_follows_args_is_for_the_program() -> None:
    args = parse_launch_args("--disk 32 --entrypoint bash --args -c 'sleep 1' --disk 5")
    assert args.request.args == ["-c", "sleep 1", "--disk", "5"]
    assert (args.request.onstart, args.disk_gb) == ("bash", 32)
    assert parse_launch_args("--entrypoint a --onstart-cmd b").request.onstart == "b"


def test_every_flag_of_the_official_command_is_known_or_told_what_to_do_instead() -> None:
    refused = {}
    for argument in official._create_instance_args:
        (flag,) = argument.args
        value = "" if argument.kwargs.get("action") == "store_true" else " 7"
        try:
            parse_launch_args(flag + value)
        except errors.InvalidRequest as told:
            refused[flag] = str(told)
    assert [told for told in refused.values() if "is not known" in told] == []
    volumes = {flag for flag, told in refused.items() if "leave it out" in told}
    assert volumes == {
        *("--create-volume", "--link-volume"),
        *("--volume-size", "--volume-label", "--mount-path"),
    }
    assert refused.keys() - volumes == {"--onstart", "--template_hash"}
    assert "--onstart-cmd" in refused["--onstart"]


@pytest.mark.parametrize("port", ["http", "0", "65536", "-1", "3000.0", "9" * 5_000, "³"])
def test_a_worker_serves_on_a_port_that_there_is(port: str) -> None:
    box = SecretsBox(Fernet.generate_key())
    launch, served = worker_launch(parse_launch_args(""), TEMPLATE, box)
    assert (launch.image, served) == ("debian:12", 8000)
    with pytest.raises(errors.InvalidRequest, match="WORKER_PORT"):
        worker_launch(parse_launch_args(f"--env '-e WORKER_PORT={port}'"), TEMPLATE, box)
