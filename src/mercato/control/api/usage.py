"""Usage records as a file that its owner can check without asking the market again."""

from typing import Final

import msgspec
from starlette.responses import Response

from mercato.control.api.call import Call, Nothing
from mercato.control.db import Tx
from mercato.control.flows import lapsing, sealing
from mercato.control.store import contracts, usage_records
from mercato.market.ids import AccountId
from mercato.market.money import MS_PER_S

ALL_TIME_S: Final = 1e11


class UsageQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which records: those that follow a number, or that were issued since a time."""

    after: int | None = None
    since: float | None = None
    """Seconds since the epoch."""


async def download_statement(call: Call, asked: UsageQuery) -> Response:
    """Download the account's signed usage records, up to this moment, as a file."""
    db, signer = call.services.db, call.services.house.signer
    for contract in await db.run(contracts.live_of, call.account):
        await db.run(lapsing.settle, contract, call.now_ms)
    while await db.run(sealing.seal, signer, call.account):
        pass
    after = await db.run(_after, call.account, asked)
    found = await db.run(sealing.statement, signer, call.account, after, call.origin, call.now_ms)
    name = f"usage-{call.account}-{found.summary.first}-{found.summary.last}.json"
    return Response(
        msgspec.json.format(msgspec.json.encode(found), indent=1),
        media_type="application/json",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _after(tx: Tx, account: AccountId, asked: UsageQuery) -> int:
    if asked.after is not None:
        return max(0, asked.after)
    since_s = min(max(0.0, asked.since or 0.0), ALL_TIME_S)
    return usage_records.last_before(tx, account, int(since_s * MS_PER_S))


class UsageKey(msgspec.Struct, frozen=True, kw_only=True):
    """The key by which anyone can check what this market signed."""

    success: bool = True
    algorithm: str = "ed25519"
    public_key: str
    """In hexadecimal."""
    market: str
    """The address under which its statements name it."""


async def show_usage_key(call: Call, asked: Nothing) -> UsageKey:  # noqa: ARG001 - nothing is asked
    """Show the public key of this market's signatures; remember it before you need it."""
    return UsageKey(public_key=call.services.house.signer.public_key, market=call.origin)
