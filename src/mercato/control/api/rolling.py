"""Rolling updates: a worker group's workers are made anew one after another."""

import asyncio
from collections.abc import Callable
from typing import Concatenate, ParamSpec, Protocol, TypeVar

import msgspec

from mercato.control.api.call import Call
from mercato.control.blobs.blobs import Blobs
from mercato.control.db import Tx
from mercato.control.flows import deploying
from mercato.market.ids import AccountId

P = ParamSpec("P")
T = TypeVar("T")


class WhichUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """A worker group whose workers are to be made anew, or no longer."""

    workergroup_id: int
    cancel_update: bool = False


class Renewed(msgspec.Struct, frozen=True, kw_only=True):
    """How many workers it concerns."""

    success: bool = True
    cancelled: bool
    workers_to_update: int
    error_msg: str = ""


async def update_workers(call: Call, asked: WhichUpdate) -> Renewed:
    """Make the workers of a group anew, one after another; or leave the rest as they are."""
    services, group = call.services, asked.workergroup_id
    if asked.cancel_update:
        count = await services.db.run(deploying.cancel, call.account, group, call.now_ms)
    else:
        count = await roll_out(services.db.run, services.blobs, call.account, group, call.now_ms)
    return Renewed(cancelled=asked.cancel_update, workers_to_update=count)


class Run(Protocol):
    """Runs a flow in a transaction (Database.run)."""

    async def __call__(
        self, flow: Callable[Concatenate[Tx, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """What the flow returns."""
        ...


async def roll_out(run: Run, blobs: Blobs, account: AccountId, group: int, now_ms: int) -> int:
    """Have a group's workers made anew one by one, as the newest version of their code if any.

    Returns:
        How many will be.

    Raises:
        NotFound: when the account has no such group.
        BlobsTrouble: when it cannot be known whether the code is there.
    """
    version = await run(deploying.to_roll_out, group)
    there = None
    if version is not None and await asyncio.to_thread(blobs.has, version.blob, now_ms):
        there = version.id
    return await run(deploying.roll_out, account, group, now_ms, there=there)
