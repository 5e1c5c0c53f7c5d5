"""What the engine asks of the market: a port.

The control plane is one implementation; `standalone.py` is another, for a router over workers of
one's own. Nothing here is called while a request waits for its worker.
"""

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from mercato.market.ids import ContractId
from mercato.serverless.decision import Decision
from mercato.serverless.endpoint import EndpointId, GroupId
from mercato.serverless.recruit import Candidate
from mercato.wire.fleet import Fleet, Minute, Outcome, Ownership

UNREACHABLE: Final = (OSError, ConnectionError, TimeoutError)
"""What a call raises while the market cannot be reached."""


class Market(Protocol):
    """The market, as one engine knows it. Any call may raise what is in `UNREACHABLE`."""

    async def fleet(self) -> Fleet:
        """Every endpoint and every worker at this moment."""
        ...

    async def candidates(self, group: GroupId) -> Sequence[Candidate]:
        """What could be rented for a group now.

        Raises:
            NothingToRent: when no worker can be made of the group as it is.
        """
        ...

    async def owner_of(self, key: str) -> int | None:
        """The account whose key this is; None when it is nobody's."""
        ...

    async def signing_key(self, name: str, make: Callable[[], str]) -> str:
        """A private key of this market as text, made by `make` when it has none of that name."""
        ...

    async def stand(self, engine: str, address: str) -> Ownership:
        """Say that this engine is there, at this address; keep or take the endpoints due to it."""
        ...

    async def carry_out(
        self, endpoint: EndpointId, group: GroupId, decision: Decision, fence: int
    ) -> Outcome:
        """Do what was decided and keep it with its reason; or why it could not be.

        An older fence than the endpoint's is refused: its owner is another engine.
        """
        ...

    async def reboot(self, worker: ContractId, fence: int) -> str:
        """Restart a worker that fails; `done`, or why it could not be."""
        ...

    async def renew(self, account: int, group: GroupId, *, cancel: bool) -> int:
        """Have a group's workers made anew one by one, or no longer; how many are concerned.

        Raises:
            LookupError: when the account has no such group.
        """
        ...

    async def keep(self, endpoint: EndpointId, memory: bytes, fence: int) -> None:
        """Keep what an engine should know of an endpoint after its own death."""
        ...

    async def kept(self, endpoint: EndpointId) -> bytes | None:
        """What was kept last."""
        ...

    async def record(self, endpoint: EndpointId, minutes: Sequence[Minute], fence: int) -> None:
        """Keep how much was asked; the same minute under the same fence is kept once."""
        ...
