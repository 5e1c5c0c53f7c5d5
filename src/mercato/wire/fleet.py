"""Engine and control plane: what endpoints should be, what their workers are, what was decided.

The control plane owns the endpoints' definitions and rents; the engine owns what happens to
requests and decides about workers. In one process these structs are passed as they are; between two
they are JSON.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from mercato.market.contract import Kind
from mercato.market.ids import AccountId, ContractId, MachineId
from mercato.market.instance import State
from mercato.market.money import NanoUsdPerHour
from mercato.serverless.endpoint import Endpoint, EndpointId, Group, GroupId

DONE: Final = "done"
"""What is said of a decision that was carried out."""


class NothingToRent(Exception):  # noqa: N818 - said to the owner, not a fault
    """Nothing can be rented for a worker group as it is; the message says why."""


class Definition(msgspec.Struct, frozen=True, kw_only=True):
    """One endpoint as its owner wants it."""

    id: EndpointId
    account: AccountId
    name: str
    key_hash: bytes
    """SHA-256 of the endpoint's own key."""
    parameters: Endpoint
    groups: tuple[Group, ...]


class WorkerFact(msgspec.Struct, frozen=True, kw_only=True):
    """One worker as the market knows it; what it says of itself comes in its own reports."""

    id: ContractId
    endpoint: EndpointId
    group: GroupId
    machine: MachineId
    version: int
    """Of its group when it was made or last made anew."""
    token_hash: bytes
    """SHA-256 of the token that its reports carry."""
    kind: str
    """The hardware as one word, such as `2x RTX 4090`."""
    contract: Kind
    gpu_price: NanoUsdPerHour
    on_demand_price: NanoUsdPerHour
    """What its GPUs cost on demand: `gpu_price`, unless it was rented by bid."""
    storage_price: NanoUsdPerHour
    reliability: float
    dlperf: float
    state: State
    started_at_ms: int | None
    created_at_ms: int
    address: str
    """Where its host is reached; the worker's own report says at which port."""
    message: str
    leaves: bool = False
    """It was outbid, and runs until its notice ends."""


class Fleet(msgspec.Struct, frozen=True, kw_only=True):
    """Every endpoint and every worker of the market at one moment."""

    endpoints: tuple[Definition, ...]
    workers: tuple[WorkerFact, ...]


class Ownership(msgspec.Struct, frozen=True, kw_only=True):
    """Which endpoints are whose, as one engine is told."""

    mine: Mapping[EndpointId, int]
    """With the fence of each lease: it rises with every change of hands."""
    others: Mapping[EndpointId, str]
    """Where the engines are that own the others."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a decision."""

    text: str = DONE
    """`done`, or why it could not be."""
    of_account: bool = False
    """Whether account, endpoint or group were refused: then no other offer will do either."""
    of_price: bool = False
    """Whether the account cannot pay so much: then a cheaper offer may do."""

    @property
    def done(self) -> bool:
        """Whether it was carried out."""
        return self.text == DONE


class Second(msgspec.Struct, frozen=True):
    """What was asked of an endpoint in one second."""

    second: int
    """Of its minute."""
    requests: int
    units: float
    """Of all of them."""


class Minute(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked of an endpoint in one minute; seconds without a request are left out."""

    at_s: int
    """Its beginning, in seconds since the epoch."""
    seconds: list[Second]
