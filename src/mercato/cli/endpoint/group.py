"""The group `mercato endpoint`, and how its commands find an endpoint."""

from typing import TYPE_CHECKING, Annotated

from mercato.cli.command import Argument, group
from mercato.cli.errors import Trouble
from mercato.cli.session import Session

if TYPE_CHECKING:
    from mercato.sdk.endpoint_calls import Endpoint

app = group("mercato")
endpoint = group(
    "endpoint",
    "Addresses that scale from zero: their workers come and go with the load.",
    below=app,
)

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
