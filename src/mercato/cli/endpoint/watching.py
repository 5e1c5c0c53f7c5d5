"""What an endpoint's workers do, and why they came and went."""

import sys
import threading
import time
from typing import TYPE_CHECKING, Annotated, Final

from mercato.cli.command import Argument, Option, Timeout
from mercato.cli.endpoint.group import Named, endpoint, found
from mercato.cli.errors import Trouble
from mercato.cli.session import Session, print_json, print_table
from mercato.cli.text import moment, number
from mercato.cli.tree import speaks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mercato.sdk.endpoint_calls import Decided, Worker

EVERY_S: Final = 2.0
KNOWN_S: Final = 30.0
"""An engine knows of an endpoint by then; until then it may say that there is none."""
GRAINS: Final = ("info0", "info1", "trace", "debug")
READY: Final = "idle"
"""What the API calls a worker that waits for requests."""


@speaks(endpoint, "workers")
def workers(
    session: Session,
    endpoint: Named,
    *,
    wait: Annotated[bool, Option("--wait", "-w", help="First wait until one is ready.")] = False,
    timeout: Timeout = 900.0,
) -> None:
    """An endpoint's workers: what each does, and how fast it was measured to be.

    Example: mercato endpoint workers llm --wait
    """
    mine = found(session, endpoint)
    if wait:
        until_ready(session, mine.id, timeout)
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
        lambda made: _print_decisions(
            made,
            f"Nothing was decided about {about} yet; "
            f"`mercato endpoint logs {mine.endpoint_name}` says what the engine sees.",
        ),
    )


def _print_decisions(made: "Sequence[Decided]", empty: str) -> None:
    print_table(
        ("WHEN", "WHAT", "WORKER>", "WHY", "OUTCOME"),
        [(moment(each.at), each.kind, each.worker_id, each.reason, each.outcome) for each in made],
        empty,
    )


def until_ready(session: Session, endpoint: int, timeout_s: float) -> None:
    """Wait until a worker is ready, and say meanwhile what they do.

    Raises:
        Trouble: when none is within `timeout_s`.
    """
    from mercato.cli.waiting import saying
    from mercato.sdk.errors import NotFound

    known_by = time.monotonic() + KNOWN_S
    until = time.monotonic() + timeout_s
    pause = threading.Event()
    with saying(f"endpoint {endpoint}: no workers yet") as say:
        while time.monotonic() < until:
            try:
                rows = session.market.endpoint_workers(endpoint)
            except NotFound:
                # The control plane has just said that there is one.
                if time.monotonic() > known_by:
                    raise
                rows = []
            if any(each.status == READY for each in rows):
                return
            said = [f"{each.id} {each.status} {each.error_msg or each.status_msg}" for each in rows]
            say(f"endpoint {endpoint}: {'; '.join(map(str.strip, said)) or 'no workers yet'}")
            pause.wait(EVERY_S)
    raise Trouble(
        f"no worker of endpoint {endpoint} was ready within {timeout_s:.0f} s; "
        f"see: mercato endpoint why {endpoint}"
    )
