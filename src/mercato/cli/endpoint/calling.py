"""`mercato endpoint call`: a request, as an endpoint's clients make it."""

import itertools
import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from mercato.cli.command import Argument, Option
from mercato.cli.endpoint.group import endpoint
from mercato.cli.errors import Trouble
from mercato.cli.session import Session
from mercato.cli.tree import speaks
from mercato.cli.waiting import saying

if TYPE_CHECKING:
    from mercato.sdk import Progress


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
    timeout: Annotated[
        float, Option("--timeout", help="Seconds, waiting included.", endless=True)
    ] = 600.0,
) -> None:
    """Send a request to an endpoint, as its clients do, and print the answer.

    For example:

        mercato endpoint call llm /v1/completions '{"prompt": "Hello"}'

        mercato endpoint call llm /v1/completions '{"prompt": "Hello", "stream": true}' --stream
    """
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
        sys.stdout.write(msgspec.json.encode(piece).decode() + "\n")
        sys.stdout.flush()


def _json(text: str) -> dict[str, Any]:
    try:
        asked = json.loads(sys.stdin.read() if text == "-" else text)
    except ValueError as error:
        raise Trouble(f"the payload is no JSON: {error}", exit_code=2) from None
    if not isinstance(asked, dict):
        raise Trouble("the payload must be a JSON object, such as '{}'", exit_code=2)
    return asked
