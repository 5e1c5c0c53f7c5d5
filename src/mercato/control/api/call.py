"""One request as a route's function sees it: who asks, of which market, with what arguments."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from mercato.control.api.caller import Caller
from mercato.control.api.services import Services
from mercato.market import errors
from mercato.market.ids import AccountId


class Nothing(msgspec.Struct, frozen=True):
    """A request without arguments."""


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """It was done; `msg` says what, for a person."""

    success: bool = True
    msg: str = ""


def is_official_cli(user_agent: str) -> bool:
    """Whether the official command-line client of today asks, which needs some answers its way."""
    return user_agent.startswith("vastai-cli/1.")


@dataclass(frozen=True, slots=True)
class Call:
    """One request."""

    services: Services
    caller: Caller | None
    arguments: Mapping[str, Any]
    """Path, query and body together; in a clash the path wins, then the body."""
    now_ms: int
    ip: str
    user_agent: str
    request_id: str
    """Names this request in logs and answers."""
    origin: str
    """`scheme://host` under which callers reach this server, as its operator says."""
    reached: str = ""
    """The same as this very caller wrote it: for links that nobody else will use. A worker may know
    the server by a name of its own."""
    raw: bytes = b""
    """The body as it came, for signatures over it."""
    stream: AsyncIterator[bytes] | None = None
    """The body as it comes, for the routes that stream."""
    content_type: str = ""
    signature: str = ""
    """Of the body, by whoever sent it."""
    repeat_key: str | None = None
    """Its Idempotency-Key: a repeated request has the same."""
    secret: str | None = field(default=None, repr=False)
    """The key that came with the request, for the routes that know keys of their own."""

    @property
    def account(self) -> AccountId:
        """Who asks; only routes with a permission may use it."""
        return self.who.account

    @property
    def cause(self) -> str:
        """Names this request where it moves money: a repeated one moves it once."""
        return f"{self.account}:{self.repeat_key}" if self.repeat_key else self.request_id

    @property
    def who(self) -> Caller:
        """The caller; only routes with a permission may use it."""
        if self.caller is None:
            raise errors.NotAuthenticated("This needs an API key: send `Authorization: Bearer …`")
        return self.caller
