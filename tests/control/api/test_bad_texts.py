"""Queries, environments and Docker options with anything in them: a clear refusal or success.

And nothing that is written there reaches further than the container's own environment, name and
ports: a law says so of the whole configuration that the host's engine is given.
"""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest
from cryptography.fernet import Fernet
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mercato.agent.docker import DockerEngine
from mercato.catalog.language import parse, parse_text
from mercato.control.api.launching import LaunchRequest, launch_of, options_of
from mercato.control.api.offer_fields import OFFERS
from mercato.control.secrets_box import SecretsBox
from mercato.market import errors
from mercato.market.launch import Launch
from mercato.wire.agent import DesiredInstance, Port
from tests.control.api.serving import Served, served

THOUSAND = settings(
    max_examples=1_000,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
BOX = SecretsBox(Fernet.generate_key())

# --- Queries --------------------------------------------------------------------------------------

FIELD = st.sampled_from(
    [*(column.name for column in OFFERS.columns), *OFFERS.aliases, *OFFERS.units, *OFFERS.at_least]
)
OPERATOR = st.sampled_from(["eq", "neq", "gt", "gte", "lt", "lte", "in", "notin", "=", ""])
SCALAR = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20) | st.sampled_from(["any", "RTX 4090", "nan", "inf", "-1e309", "1.2.3"])
)  # fmt: skip
VALUE = SCALAR | st.lists(SCALAR, max_size=4) | st.dictionaries(st.text(max_size=5), SCALAR)
ORDER = st.lists(st.tuples(FIELD, st.sampled_from(["asc", "desc"])).map(list) | SCALAR, max_size=3)
QUERY = st.fixed_dictionaries(
    {},
    optional={
        "order": ORDER | SCALAR,
        "limit": SCALAR,
        "type": st.sampled_from(["on-demand", "bid", "reserved", "interruptible"]) | SCALAR,
        "allocated_storage": VALUE,
        "q": VALUE,
    },
).flatmap(
    lambda asked: st.dictionaries(
        FIELD | st.text(max_size=10), VALUE | st.dictionaries(OPERATOR, VALUE, max_size=3),
        max_size=5,
    ).map(lambda fields: {**fields, **asked})
)  # fmt: skip


@pytest.fixture
def search(database_url: str, tmp_path: Path) -> Iterator[httpx2.Client]:
    with (
        served(database_url, tmp_path, calls_per_s=0) as server,
        httpx2.Client(base_url=server.url) as client,
    ):
        yield client


def is_clear(answer: httpx2.Response) -> bool:
    """Success, or a refusal in words."""
    if answer.status_code == 200:
        return "offers" in answer.json()
    return 400 <= answer.status_code < 500 and bool(answer.json()["msg"])


@pytest.mark.slow
def test_a_thousand_queries(search: httpx2.Client) -> None:
    @THOUSAND
    @given(QUERY)
    def ask(query: dict[str, Any]) -> None:
        answer = search.post("/api/v0/bundles/", json=query)
        assert is_clear(answer), (query, answer.text)

    ask()


WORD = st.one_of(
    FIELD,
    st.sampled_from(["=", "==", "!=", ">=", "<", "in", "not in", "notin", "[", "]", '"', ",", "x"]),
    st.text(max_size=8),
)


@THOUSAND
@given(st.lists(WORD, max_size=9).map(" ".join) | st.text(max_size=40))
def test_a_thousand_queries_in_words(text: str) -> None:
    with contextlib.suppress(errors.InvalidQuery):
        parse(parse_text(text, OFFERS), OFFERS)


# --- Environments and Docker options --------------------------------------------------------------

FLAG = st.sampled_from([
    "-e", "-p", "-h", "-v", "-n", "--env", "--publish", "--privileged", "--cap-add", "--device",
    "--pid=host", "--net=host", "--ipc=host", "--volume", "-v/:/host", "--security-opt",
    "seccomp=unconfined", "--user", "--gpus", "all", "--mount", "type=bind,src=/,dst=/host",
    "--entrypoint", "--rm", "-d", "--", "$(touch /tmp/x)", "`id`", ";", "|", "&&", "\n",
    "--restart=always", "--cgroup-parent=/", "--volumes-from", "--env-file=/etc/shadow", "-e=A=b",
])  # fmt: skip
PART = st.sampled_from([
    "A=b", "A", "=", "LD_PRELOAD=/x.so", "80:80", "53:53/udp", "70000:70000", "0:0", "99999999",
    "1-65535:1-65535", "127.0.0.1:80:80", "box", "a.b", "-x", "V.1:/data", "/:/host", "'A=b c'",
    '"', "'", "\\", "..", "A=$(id)", "A=`id`", "A=\x00", "PATH=",
])  # fmt: skip
OPTIONS = st.lists(FLAG | PART | st.text(max_size=12), max_size=10).map(" ".join)
PARSED = st.dictionaries(
    st.builds(" ".join, st.lists(FLAG | PART, min_size=1, max_size=2)) | st.text(max_size=12),
    SCALAR,
    max_size=6,
)


def engine_told(launch: Launch) -> dict[str, Any]:
    """The whole of what the host's engine is told for a launch."""
    desired = DesiredInstance(
        id=1, revision=1, boots=1, running=True, image=launch.image, ssh=launch.ssh,
        entrypoint=launch.entrypoint, user=launch.user, args=launch.args, env=launch.env,
        ports=tuple(Port(container=one.container, protocol=one.protocol) for one in launch.ports),
        hostname=launch.hostname, onstart=launch.onstart, cpus=1.0, ram_mb=1_000, shm_mb=500,
        disk_mb=1_000,
    )  # fmt: skip
    wishes = {f"{one.container}/{one.protocol}": 40_000 + at for at, one in enumerate(launch.ports)}
    engine = DockerEngine("test", 1, {}, "192.0.2.1", Path("/nonexistent"))
    return engine.container_config(desired, wishes)


HARMLESS = engine_told(Launch(image="debian"))
OWN = {"Env", "Hostname", "ExposedPorts"}
"""What options may change of a container."""


def check(launch: Launch) -> None:
    told = engine_told(launch)
    for name, value in HARMLESS.items():
        if name == "HostConfig":
            assert {**told[name], "PortBindings": {}} == {**value, "PortBindings": {}}
        elif name not in OWN:
            assert told[name] == value, name
    assert set(told) == set(HARMLESS)
    assert re.fullmatch(r"[A-Za-z0-9.-]{1,64}", told["Hostname"])
    assert all(re.match(r"[A-Za-z_][\w.-]*=", one, re.ASCII) for one in told["Env"])
    assert not any("\x00" in one for one in told["Env"])
    assert len(launch.ports) <= 64
    assert all(0 < port.container < 100_000 for port in launch.ports)


def launched(**asked: Any) -> Launch | None:
    """What a renter's request comes to; None when it is refused in words."""
    try:
        return launch_of(LaunchRequest(image="debian", **asked), None, BOX)
    except errors.Refusal:
        return None


@THOUSAND
@given(PARSED)
@example({"-e": "x", "A B": "1"})
def test_a_thousand_environments(env: dict[str, Any]) -> None:
    launch = launched(env=env)
    if launch is not None:
        check(launch)


@THOUSAND
@given(OPTIONS, st.sampled_from(["env", "extra"]))
@example("-e A=b -p 80:80 -h box", "env")
@example("--privileged", "extra")
def test_a_thousand_docker_options(text: str, where: str) -> None:
    launch = launched(**{where: text})
    if launch is not None:
        check(launch)


def test_arguments_go_to_the_images_own_entrypoint_unless_ssh_is_said() -> None:
    plain, said = launched(args=["-c", "ls"]), launched(args=["-c", "ls"], runtype="ssh")
    assert plain is not None
    assert said is not None
    assert (plain.runtype, plain.ssh, said.ssh) == ("args", False, True)
    replaced = launched(args_str="-c 'ls -l'", onstart="bash\n")
    assert replaced is not None
    assert (replaced.entrypoint, replaced.args, replaced.onstart) == ("bash", ("-c", "ls -l"), "")
    script = launched(runtype="args", onstart="echo one; echo two")
    assert script is not None
    assert (script.entrypoint, script.onstart) == (None, "echo one; echo two")


@pytest.mark.parametrize(
    "text",
    ["--privileged", "-v /:/host", "--net=host", "--device /dev/sda", "-n other", "--gpus all", "x",
     "-e 'A", "-p x", "-p 0:0", "-h a_b", "-e =x", "--cap-add=SYS_ADMIN", "-e A=\x00"],
)  # fmt: skip
def test_what_is_never_allowed(text: str) -> None:
    with pytest.raises(errors.InvalidRequest):
        options_of(text)


def test_whoever_creates_a_template_hears_of_it_at_once(server: Served) -> None:
    body = {"name": "one", "image": "debian", "env": "--privileged"}
    answer = server.call("POST", "/api/v0/template/", "renter", body)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_args")
    told = msgspec.json.decode(answer.content)
    assert told["msg"] == "The option '--privileged' is not allowed: only -e, -p, -h and -v are."
