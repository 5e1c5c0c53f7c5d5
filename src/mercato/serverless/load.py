"""How much is being asked: requests as they come, and what they say about the near future."""

import msgspec


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """The endpoint's queue at one moment."""

    requests: int = 0
    units: float = 0.0
    oldest_s: float = 0.0
    """How long the request at its head has waited."""


class Load(msgspec.Struct, kw_only=True):
    """What an endpoint has been asked lately. Plain data, to be stored with the endpoint."""

    requests: int = 0
    units: float = 0.0
    last_s: float = 0.0
    """When the last request came."""
    now_s: float = 0.0
    waiting: Waiting = Waiting()

    def arrive(self, now_s: float, units: float) -> None:
        """A new request of this cost asks for a worker; polls of the same one do not count."""
        self.requests += 1
        self.units += units
        self.last_s = now_s

    def tick(self, now_s: float, waiting: Waiting) -> None:
        """Come up to `now_s`; called once a second, before `decide`."""
        self.now_s = now_s
        self.waiting = waiting
