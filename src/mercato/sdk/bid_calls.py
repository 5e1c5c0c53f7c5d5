"""The calls of the public API about bids and the auction, one function each."""

from typing import Any

import msgspec

from mercato.sdk.call import Call, many, one


class Bid(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a bid."""

    price: float
    """Dollars an hour for all GPUs of the instance."""
    wins: bool | None = None
    """Whether it has, or gets, its GPUs; None while the instance is stopped."""


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """What a bid would win now, and would have won lately."""

    wins: bool
    min_bid: float | None = None
    floor: float = 0
    displaces: list[int] = []
    held_share: float | None = None
    longest_s: float = 0
    displacements: int = 0
    known_s: float = 0


class Clearing(msgspec.Struct, frozen=True, kw_only=True):
    """One verdict of the auction, with all that it was decided from; money in nano-dollars."""

    id: int
    machine_id: int
    at_ms: int
    gpus: int
    claims: list[Any]
    verdict: list[Any]


def change_bid(instance: int, price: float | None = None) -> Call[Bid]:
    """Bid another price for all GPUs of an instance by the hour; None bids what wins now."""
    return Call("PUT", f"/instances/bid_price/{instance}/", one(Bid), body={"price": price})


def reschedule(instance: int, *, anywhere: bool) -> Call[None]:
    """Say whether an instance may come back on any equal GPUs of its machine."""
    path = f"/instances/reschedule/{instance}/"
    return Call("PUT", path, lambda _: None, body={"reschedule": anywhere})


def try_bid(offer: int, price: float, *, hours: float = 24.0) -> Call[Trial]:
    """Ask what a bid on an offer would win, and would have won in the last hours."""
    query = {"price": price, "hours": hours}
    return Call("GET", f"/asks/{offer}/bid/", one(Trial), query=query)


def clearings_page(
    machine: int, before: int | None = None
) -> Call[tuple[list[Clearing], int | None]]:
    """One page of who was given a machine's GPUs and why, the latest first."""
    rows = many(Clearing, "clearings")
    return Call(
        "GET",
        f"/machines/{machine}/clearings/",
        lambda answer: (rows(answer), answer.get("next_before")),
        query={"before": before},
    )
