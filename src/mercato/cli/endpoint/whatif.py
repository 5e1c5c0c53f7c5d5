"""`mercato endpoint whatif`: recorded traffic under other parameters."""

import time
from typing import TYPE_CHECKING, Annotated, Any

from mercato.cli.command import Option
from mercato.cli.endpoint.group import Named, endpoint, found
from mercato.cli.errors import Trouble
from mercato.cli.session import Session, print_json, print_line, print_table
from mercato.cli.text import money, number, span
from mercato.cli.tree import speaks
from mercato.cli.waiting import saying

if TYPE_CHECKING:
    from mercato.serverless.whatif import Outcome, Terms

DAY_S = 86_400

KIND: dict[str, Any] = {
    "gpu_price": Annotated[
        float | None, Option("--gpu-price", help="A worker's $/h awake; as its workers cost.")
    ],
    "storage_price": Annotated[
        float | None, Option("--storage-price", help="A worker's $/h for its disk; as they cost.")
    ],
    "perf": Annotated[
        float | None, Option("--perf", help="A worker's units a second; as they were measured.")
    ],
    "slots": Annotated[
        int | None, Option("--slots", help="Requests that it does at once; as they say.")
    ],
    "start_s": Annotated[
        float | None, Option("--start-s", help="Seconds from waking to serving; 30 when left out.")
    ],
    "load_s": Annotated[
        float | None, Option("--load-s", help="Seconds from renting to serving; 240 otherwise.")
    ],
}


@speaks(endpoint, "whatif", also=KIND)
def whatif(
    session: Session,
    /,
    named: Named,
    *,
    changes: Annotated[
        tuple[str, ...], Option("--set", "-s", help="A parameter otherwise: target_util=0.8")
    ] = (),
    days: Annotated[float, Option("--days", help="How far back the traffic goes.")] = 7.0,
    **kind: Any,
) -> None:
    """What recorded traffic would have cost and waited under other parameters.

    The traffic of the last days is played through the endpoint's own decisions, once as it is and
    once with what is --set, on one kind of worker that never fails, and all of their time is
    billed, with the hours in which nobody asked. Nothing is changed.

    For example:

        mercato endpoint whatif llm --set target_util=0.8

        mercato endpoint whatif llm --set policy=queue --set max_workers=4 --days 1
    """
    if days <= 0:
        raise Trouble("--days must be a number above 0", exit_code=2)
    from mercato.sdk import whatif as playing

    mine = found(session, named)
    asked = dict(_parsed(each) for each in changes)
    ways = {"as it is": playing.parameters(mine, {})}
    if asked:
        ways[" ".join(changes)] = playing.parameters(mine, asked)
    worker_kind = playing.Kind(**{name: value for name, value in kind.items() if value is not None})
    until = time.time()  # noqa: TID251 - a person asks about the days before this moment
    since = max(until - days * DAY_S, mine.created_at)
    with saying(f"endpoint {mine.endpoint_name}: reading its traffic") as say:
        traffic = session.market.traffic(mine.id, since, until)
        worker = playing.terms(traffic, session.market.endpoint_workers(mine.id), worker_kind)
        if not traffic.requests:
            raise Trouble(f"nothing was asked of {mine.endpoint_name} in the last {days:g} day(s)")
        outcomes = {}
        for name, parameters in ways.items():
            say(f"replaying {traffic.requests} requests {name}")
            outcomes[name] = playing.played(traffic, parameters, worker, since, until)
    if session.raw:
        print_json({"since": since, "until": until, "terms": worker, "outcomes": outcomes})
    else:
        _print(outcomes, worker, until - since)


def _parsed(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip() or not value.strip():
        raise Trouble(f"--set {text!r} is not of the form target_util=0.8", exit_code=2)
    return name.strip(), value.strip()


def _print(outcomes: "dict[str, Outcome]", worker: "Terms", seconds: float) -> None:
    print_table(
        ("PARAMETERS", "COST>", "P50>", "P95>", "LATE>", "RENTED>", "WOKEN>", "REQUESTS>"),
        [
            (
                name,
                money(one.cost / 1e9),
                f"{one.p50_s:.2f}s",
                f"{one.p95_s:.2f}s",
                f"{one.late:.1%}",
                one.rented,
                one.woken,
                number(one.requests),
            )
            for name, one in outcomes.items()
        ],
        "",
    )
    print_line(
        f"In {span(seconds)}, on workers of {number(worker.perf, 1)} units/s, {worker.slots} "
        f"request(s) at once, at "
        f"{money(worker.gpu_price / 1e9)}/h awake and {money(worker.storage_price / 1e9)}/h for "
        "the disk."
    )
