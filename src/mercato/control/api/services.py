"""What routes work with, built once by app.py."""

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from mercato.control.api.agents import Agents
from mercato.control.api.auth import KeyRing
from mercato.control.api.limits import RateLimits
from mercato.control.api.offer_book import OfferBook
from mercato.control.api.order_desk import OrderDesk
from mercato.control.blobs.blobs import Blobs
from mercato.control.clock import Clock
from mercato.control.db import Database
from mercato.control.flows.house import House
from mercato.control.payments.providers import Providers
from mercato.market.ids import AccountId


class RunState(Protocol):
    """How the last run of a loop went (loops/loop.py's Status)."""

    runs: int
    report: dict[str, int]
    failure: str | None
    began_at_ms: int | None


class LoopState(Protocol):
    """What the API shows of a loop (loops/loop.py's Loop)."""

    name: str
    purpose: str
    period_s: float

    @property
    def status(self) -> RunState:
        """How its last run went."""
        ...


@dataclass(slots=True)
class Services:
    """The control plane's parts."""

    db: Database
    clock: Clock
    house: House
    keys: KeyRing
    limits: RateLimits
    agents: Agents
    offers: OfferBook
    providers: Providers
    orders: OrderDesk
    blobs: Blobs
    """Where uploads lie."""
    observe: Callable[[str, str, int, int], None]
    """Counts a request: method, route, status, milliseconds."""
    exposition: Callable[[], bytes]
    """Everything counted, in Prometheus' text format."""
    loops: Callable[[], Sequence[LoopState]]
    """The background loops of this process."""
    spawn: Callable[[Coroutine[Any, Any, None]], None]
    """Runs what may go on after the answer; waited for when the server stops."""
    openapi: bytes
    documentation: str
    body_bytes_max: int
    upload_bytes_max: int
    public_url: str | None
    """Where callers reach this server; None to believe each request's Host header."""
    addresses_seen: set[tuple[AccountId, str]] = field(default_factory=set)
