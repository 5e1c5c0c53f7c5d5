"""`mercato endpoint`: addresses that scale from zero, their workers, and why they came and went."""

import itertools
import json
import sys
import threading
import time
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec

from mercato.cli.command import Argument, Option, group
from mercato.cli.endpoint_options import GROUP, PARAMETERS, State, given
from mercato.cli.errors import Trouble
from mercato.cli.session import Session, print_json, print_line, print_table
from mercato.cli.text import moment, number, span
from mercato.cli.tree import speaks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mercato.sdk import Progress
    from mercato.sdk.endpoint_calls import Decided, Endpoint, Worker

app = group("mercato")
endpoint = group(
    "endpoint",
    "Addresses that scale from zero: their workers come and go with the load.",
    below=app,
)

EVERY_S: Final = 2.0
GRAINS: Final = ("info0", "info1", "trace", "debug")
READY: Final = "idle"
"""What the API calls a worker that waits for requests."""

Named = Annotated[str, Argument(metavar="ENDPOINT", help="Its name, or its id.")]


def found(session: Session, named: str) -> "Endpoint":
    """The account's endpoint of that name, or of that id.

    Raises:
        Trouble: when it has none such.
    """
    mine = session.market.endpoints()
    for one in mine:
        if one.endpoint_name == named:
            return one
    for one in mine:
        if str(one.id) == named:
            return one
    names = ", ".join(sorted(one.endpoint_name for one in mine))
    others = f"you have {names}" if names else "make one with: mercato endpoint create NAME"
    raise Trouble(f"you have no endpoint {named!r}; {others}")


@speaks(endpoint, "create", also={**PARAMETERS, **GROUP})
def create(
    session: Session,
    /,
    name: Annotated[str, Argument(help="Its name, by which clients call it.")],
    *,
    template: Annotated[
        str | None, Option("--template", help="A template's hash: its first worker group runs it.")
    ] = None,
    wait: Annotated[bool, Option("--wait", "-w", help="Wait until a worker is ready.")] = False,
    timeout: Annotated[float, Option("--timeout", help="Seconds to wait at most.")] = 900.0,
    **options: Any,
) -> None:
    """Make an endpoint; with --template also its first worker group, which gives it workers.

    For example:

        mercato endpoint create llm --template 5f3b... --query 'gpu_name=RTX_4090 num_gpus=1'

        mercato endpoint create llm --cold-workers 0 --max-workers 4 --inactivity-timeout 60
    """
    fields = given(options, GROUP)
    if template is None and (fields or wait):
        raise Trouble("which template should its workers run? Give --template HASH", exit_code=2)
    market = session.market
    made = market.create_endpoint(name, given(options, PARAMETERS)).id
    if template is not None:
        try:
            market.create_worker_group(made, fields | {"template_hash": template})
        except Exception:
            # One that can have no worker would only be in the way of the next attempt.
            market.delete_endpoint(made)
            raise
    if wait:
        _until_ready(session, made, timeout)
    mine = found(session, str(made))
    if session.raw:
        print_json(mine)
        return
    print_line(f"Endpoint {made} ({name}). Its clients' key: {mine.api_key}")
    if template is None:
        print_line(f"It has no workers yet: mercato worker-group create {name} --template HASH")
    else:
        print_line(f"OpenAI clients call it at {session.url.rstrip('/')}/openai/{name}/v1")


@speaks(endpoint, "ls")
def list_endpoints(session: Session) -> None:
    """Your endpoints.

    Example: mercato endpoint ls
    """
    from mercato.sdk import endpoint_calls

    session.give(
        endpoint_calls.endpoints(),
        lambda mine: print_table(
            ("ID>", "NAME", "STATE", "POLICY", "WORKERS>", "MIN LOAD>", "UTIL>", "LATE AFTER>"),
            [
                (
                    each.id,
                    each.endpoint_name,
                    each.endpoint_state,
                    each.policy,
                    f"{each.cold_workers}-{each.max_workers}",
                    number(each.min_load, 1),
                    f"{each.target_util:.0%}",
                    span(each.target_queue_time),
                )
                for each in mine
            ],
            "You have no endpoints. Make one: mercato endpoint create NAME",
        ),
    )


@speaks(endpoint, "show")
def show(session: Session, endpoint: Named) -> None:
    """Everything about one endpoint: parameters, key, worker groups, workers.

    Example: mercato endpoint show llm
    """
    mine = found(session, endpoint)
    groups = [one for one in session.market.worker_groups() if one.endpoint_id == mine.id]
    workers = session.market.endpoint_workers(mine.id)
    if session.raw:
        print_json(msgspec.to_builtins(mine) | {"worker_groups": groups, "workers": workers})
        return
    facts = msgspec.structs.asdict(mine) | {"created_at": moment(mine.created_at)}
    for name, value in facts.items():
        print_line(f"{name:<20} {'-' if value is None else value}")
    print_line("")
    from mercato.cli.worker_groups import print_groups

    print_groups(groups)
    print_line("")
    print_workers(workers)


@speaks(endpoint, "update", also=PARAMETERS)
def update(
    session: Session,
    /,
    endpoint: Named,
    *,
    name: Annotated[str | None, Option("--name", help="Another name.")] = None,
    state: Annotated[
        State | None, Option("--state", help="suspended: left as it is; stopped: all asleep.")
    ] = None,
    **options: Any,
) -> None:
    """Change an endpoint's parameters; what is not given stays as it is.

    For example:

        mercato endpoint update llm --max-workers 8 --target-util 0.8

        mercato endpoint update llm --state stopped
    """
    changes = given(options, PARAMETERS)
    changes |= {} if name is None else {"endpoint_name": name}
    changes |= {} if state is None else {"endpoint_state": state.value}
    if not changes:
        raise Trouble("nothing to change; see: mercato endpoint update --help", exit_code=2)
    from mercato.sdk import endpoint_calls

    mine = found(session, endpoint)
    session.do(
        endpoint_calls.change_endpoint(mine.id, changes),
        f"Endpoint {mine.endpoint_name} is changed: {', '.join(sorted(changes))}.",
    )


@speaks(endpoint, "rm")
def remove(session: Session, endpoint: Named) -> None:
    """Delete an endpoint with its worker groups; its workers are destroyed.

    Example: mercato endpoint rm llm
    """
    from mercato.sdk import endpoint_calls

    mine = found(session, endpoint)
    session.give(endpoint_calls.delete_endpoint(mine.id), lambda deleted: print_line(deleted.msg))


@speaks(endpoint, "workers")
def workers(
    session: Session,
    endpoint: Named,
    *,
    wait: Annotated[bool, Option("--wait", "-w", help="First wait until one is ready.")] = False,
    timeout: Annotated[float, Option("--timeout", help="Seconds to wait at most.")] = 900.0,
) -> None:
    """An endpoint's workers: what each does, and how fast it was measured to be.

    Example: mercato endpoint workers llm --wait
    """
    mine = found(session, endpoint)
    if wait:
        _until_ready(session, mine.id, timeout)
    rows = session.market.endpoint_workers(mine.id)
    if session.raw:
        print_json(rows)
    else:
        print_workers(rows)


def print_workers(rows: "Sequence[Worker]") -> None:
    """Print workers as a table."""
    print_table(
        (
            *("ID>", "STATE", "GPUS", "MACHINE>", "GROUP>", "REQUESTS>", "LOAD>", "UNITS/S>"),
            "MESSAGE",
        ),
        [
            (
                each.id,
                each.status,
                each.gpu_name,
                each.machine_id,
                each.workergroup_id,
                f"{each.reqs_working}/{each.slots}" if each.slots else each.reqs_working,
                number(each.cur_load, 1),
                number(each.perf, 1),
                each.error_msg or each.status_msg,
            )
            for each in rows
        ],
        "It has no workers now.",
    )


@speaks(endpoint, "logs")
def logs(
    session: Session,
    endpoint: Named,
    *,
    level: Annotated[
        int, Option("--level", "-l", help="0: workers, 1: and decisions, 2: reports, 3: requests.")
    ] = 1,
    tail: Annotated[int, Option("--tail", "-n", help="The last so many lines.")] = 100,
    follow: Annotated[bool, Option("--follow", "-f", help="Go on as there are more.")] = False,
) -> None:
    """What an endpoint's engine did and saw, oldest first.

    For example:

        mercato endpoint logs llm

        mercato endpoint logs llm --level 3 --follow
    """
    if not 0 <= level < len(GRAINS):
        raise Trouble(f"--level is from 0 to {len(GRAINS) - 1}", exit_code=2)
    from mercato.cli.inside import fresh

    mine = found(session, endpoint)
    if session.raw:
        print_json(session.market.endpoint_logs(mine.id, tail=tail))
        return
    seen = _lines(session, mine.id, level, tail)
    _print(seen, "Nothing happened yet.")
    pause = threading.Event()
    while follow:
        pause.wait(EVERY_S)
        now = _lines(session, mine.id, level, tail)
        _print(list(fresh(seen, now)))
        seen = now


def _lines(session: Session, endpoint: int, level: int, tail: int) -> list[str]:
    """The lines of a level and those below, in order of time."""
    grains = session.market.endpoint_logs(endpoint, tail=tail)
    lines = [
        line for grain in GRAINS[: level + 1] for line in grains.get(grain, "").splitlines() if line
    ]
    return sorted(lines)[-tail:] if tail > 0 else []


def _print(lines: "Sequence[str]", empty: str = "") -> None:
    text = "\n".join(lines) or empty
    if text:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


@speaks(endpoint, "why")
def why(
    session: Session,
    endpoint: Named,
    worker: Annotated[int | None, Argument(help="One of its workers, past ones too.")] = None,
    *,
    limit: Annotated[int, Option("--limit", "-n", help="At most this many.")] = 20,
) -> None:
    """Why an endpoint's workers were rented, woken, put to sleep or given back.

    Each decision stands with the figures that decided it, the latest first.

    For example:

        mercato endpoint why llm

        mercato endpoint why llm 17
    """
    from mercato.sdk import endpoint_calls

    mine = found(session, endpoint)
    about = "its workers" if worker is None else f"a worker {worker} of its"
    session.give(
        endpoint_calls.decisions(mine.id, worker=worker, limit=limit),
        lambda made: _print_decisions(made, f"Nothing was decided about {about} yet."),
    )


def _print_decisions(made: "Sequence[Decided]", empty: str) -> None:
    print_table(
        ("WHEN", "WHAT", "WORKER>", "WHY", "OUTCOME"),
        [(moment(each.at), each.kind, each.worker_id, each.reason, each.outcome) for each in made],
        empty,
    )


@speaks(endpoint, "call")
def call(  # noqa: PLR0913 - a request has these parts, each named
    session: Session,
    endpoint: Annotated[str, Argument(metavar="ENDPOINT", help="Its name.")],
    route: Annotated[str, Argument(help="A path of its workers: /v1/completions")],
    payload: Annotated[str, Argument(help="JSON, or - to read it from the standard input.")] = "{}",
    *,
    stream: Annotated[bool, Option("--stream", "-s", help="Print pieces as they come.")] = False,
    cost: Annotated[float, Option("--cost", help="Units of work that it is.")] = 100.0,
    retries: Annotated[int, Option("--retries", help="How many more workers may be tried.")] = 8,
    timeout: Annotated[float, Option("--timeout", help="Seconds, waiting included.")] = 600.0,
) -> None:
    """Send a request to an endpoint, as its clients do, and print the answer.

    For example:

        mercato endpoint call llm /v1/completions '{"prompt": "Hello"}'

        mercato endpoint call llm /v1/completions '{"prompt": "Hello", "stream": true}' --stream
    """
    from mercato.cli.waiting import saying
    from mercato.sdk.asking import How

    asked = _json(payload)
    how = How(cost=cost, retries=retries, timeout_s=timeout)
    to = session.market.endpoint(endpoint)
    with saying(f"{endpoint}: asking") as say:

        def tell(progress: "Progress") -> None:
            say(f"{endpoint}: {progress.stage.value} {progress.url}{progress.text}".rstrip())

        if stream:
            pieces = to.stream(route, asked, progress=tell, **how)
            first = list(itertools.islice(pieces, 1))
        else:
            answered = to.request(route, asked, progress=tell, **how)
            pieces, first = iter(()), [answered if session.raw else answered.value]
    for piece in itertools.chain(first, pieces):
        print_line(msgspec.json.encode(piece).decode())
        sys.stdout.flush()


def _json(text: str) -> dict[str, Any]:
    try:
        asked = json.loads(sys.stdin.read() if text == "-" else text)
    except ValueError as error:
        raise Trouble(f"the payload is no JSON: {error}", exit_code=2) from None
    if not isinstance(asked, dict):
        raise Trouble("the payload must be a JSON object, such as '{}'", exit_code=2)
    return asked


def _until_ready(session: Session, endpoint: int, timeout_s: float) -> None:
    """Wait until a worker is ready, and say meanwhile what they do.

    Raises:
        Trouble: when none is within `timeout_s`.
    """
    from mercato.cli.waiting import saying

    until = time.monotonic() + timeout_s
    pause = threading.Event()
    with saying(f"endpoint {endpoint}: no workers yet") as say:
        while time.monotonic() < until:
            rows = session.market.endpoint_workers(endpoint)
            if any(each.status == READY for each in rows):
                return
            said = [f"{each.id} {each.status} {each.error_msg or each.status_msg}" for each in rows]
            say(f"endpoint {endpoint}: {'; '.join(map(str.strip, said)) or 'no workers yet'}")
            pause.wait(EVERY_S)
    raise Trouble(
        f"no worker of endpoint {endpoint} was ready within {timeout_s:.0f} s; "
        f"see: mercato endpoint why {endpoint}"
    )
