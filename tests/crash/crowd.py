"""Renters who want something all the time, each in a thread of its own."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Final

from mercato.sdk import Failure, Mercato
from mercato.sdk.errors import ServerFailed, TimedOut, Unreachable
from mercato.sdk.shapes import Instance

MINE_MAX: Final = 3
"""A renter with so many instances rents no more."""


class Crowd:
    """Several renters at once."""

    def __init__(self, url: str, keys: dict[str, str], image: str, seed: int) -> None:
        """Have one renter for each key; nobody does anything yet."""
        self._url, self._image = url, image
        self._ended = threading.Event()
        self._hands = {name: threading.Lock() for name in keys}
        self.done: Counter[str] = Counter()
        """What was done, what was refused and what nobody knows, for whoever reads the test."""
        self.untouched: frozenset[int] = frozenset()
        """Instances that are let alone."""
        self._threads = [
            threading.Thread(target=self._live, args=(name, key, Random(f"{seed} {name}")))
            for name, key in keys.items()
        ]
        self.troubles: list[BaseException] = []

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Everybody wants something for as long as this is held."""
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._ended.set()
            for thread in self._threads:
                thread.join()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nobody begins anything, and nothing begun is under way, while this is held."""
        for hand in self._hands.values():
            hand.acquire()
        try:
            yield
        finally:
            for hand in self._hands.values():
                hand.release()

    def _live(self, name: str, key: str, luck: Random) -> None:
        try:
            with Mercato(self._url, key) as renter:
                while not self._ended.wait(luck.uniform(0.02, 0.3)):
                    with self._hands[name]:
                        self._act(renter, luck)
        except BaseException as trouble:
            self.troubles.append(trouble)
            raise

    def _act(self, renter: Mercato, luck: Random) -> None:
        what = "look"
        try:
            mine = [one for one in renter.instances() if one.id not in self.untouched]
            what = luck.choice(("rent", "bid", "stop", "start", "reboot", "destroy", "destroy"))
            if what in {"rent", "bid"}:
                if len(mine) < MINE_MAX:
                    self._rent(renter, luck, by_bid=what == "bid")
            elif mine:
                self._tell(renter, what, luck.choice(mine))
        except (Unreachable, ServerFailed, TimedOut):
            self.done[f"{what}: nobody knows"] += 1
        except Failure as refused:
            self.done[f"{what}: {refused.code or refused.status}"] += 1
        else:
            self.done[f"{what}: done"] += 1

    def _rent(self, renter: Mercato, luck: Random, *, by_bid: bool) -> None:
        offers = renter.search("num_gpus<=2", limit=50, storage_gb=2.0)
        if not offers:
            return
        offer = luck.choice(offers)
        price = luck.uniform(0.4, 3.0) * offer.num_gpus if by_bid else None
        renter.rent(
            offer.id,
            image=self._image,
            disk_gb=2.0,
            bid=price,
            cancel_unavailable=luck.random() < 0.5,
        )

    def _tell(self, renter: Mercato, what: str, one: Instance) -> None:
        tell = {
            "stop": renter.stop,
            "start": renter.start,
            "reboot": renter.reboot,
            "destroy": renter.destroy,
        }
        tell[what](one.id)
