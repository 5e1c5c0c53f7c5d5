"""A small language for what happens on one machine, and what the auction makes of it.

    machine 8                 eight GPUs; `uniform` and `minimum 30m` may follow
    bid ann 0-3 0.20          ann bids $0.20 a GPU and hour for GPUs 0 to 3; `anywhere` may follow
    rent cy 0-3               an on-demand contract; `reserve` makes a reserved one
    idle host 0-7             the host's own background job
    price ann 0.30            ann bids another price
    stop ann                  ann no longer wants to run
    pass 20m                  time goes by

After `->` stands everything that changes for anybody, or `nothing`: `ann has 0-3`, `ann yields to
bob` (what ann held is bob's), `ann waits 1` (ann is first in the queue), and with uniform pricing
`ann pays 0.25`. A line that begins with `#` is a remark.
"""

from dataclasses import dataclass, field

import msgspec

from mercato.market.auction import Claim, Outcome, clear, span
from mercato.market.contract import Kind
from mercato.market.ids import ContractId
from mercato.market.money import NanoUsdPerHour, dollars, nano

MINUTE_MS = 60_000
VERBS = {
    "bid": Kind.INTERRUPTIBLE,
    "rent": Kind.ON_DEMAND,
    "reserve": Kind.RESERVED,
    "idle": Kind.BACKGROUND,
}


@dataclass
class Scenario:
    """One machine as a scenario goes by."""

    gpus: int = 0
    uniform: bool = False
    minimum_ms: int = 0
    now_ms: int = 0
    names: dict[ContractId, str] = field(default_factory=dict)
    claims: dict[str, Claim] = field(default_factory=dict)
    shown: dict[str, str] = field(default_factory=dict)
    prices: dict[str, int] = field(default_factory=dict)

    def play(self, line: str) -> str:
        """Do what a line says; everything that changed, in the order of the names."""
        verb, *words = line.split()
        match verb, words:
            case "machine", [gpus, *rest]:
                self.gpus, self.uniform = int(gpus), "uniform" in rest
                if "minimum" in rest:
                    self.minimum_ms = minutes_ms(rest[rest.index("minimum") + 1])
            case "price", [name, price]:
                self._change(name, price=self._price(price, len(self.claims[name].gpus)))
            case "stop", [name]:
                del self.claims[name], self.shown[name]
                self.prices.pop(name, None)
            case "pass", [span_of]:
                self.now_ms += minutes_ms(span_of)
            case _, [name, gpus, *rest] if verb in VERBS:
                self._enter(VERBS[verb], name, gpus, rest)
            case _:
                raise AssertionError(f"what is {line!r}?")
        return self._settle()

    def _enter(self, kind: Kind, name: str, gpus: str, rest: list[str]) -> None:
        first, _, last = gpus.partition("-")
        wanted = tuple(range(int(first), int(last or first) + 1))
        contract = ContractId(len(self.names) + 1)
        self.names[contract] = name
        self.claims[name] = Claim(
            contract=contract,
            kind=kind,
            gpus=wanted,
            price=self._price(rest[0], len(wanted)) if kind is Kind.INTERRUPTIBLE else _FREE,
            floor=self._price("0.01", len(wanted)),
            anywhere="anywhere" in rest,
            signed_at_ms=self.now_ms,
            uniform=self.uniform,
        )

    def _price(self, per_gpu: str, gpus: int) -> NanoUsdPerHour:
        return NanoUsdPerHour(nano(per_gpu) * gpus)

    def _change(self, name: str, **changes: object) -> None:
        self.claims[name] = msgspec.structs.replace(self.claims[name], **changes)

    def _settle(self) -> str:
        verdict = clear(self.gpus, list(self.claims.values()), self.now_ms)
        changes = []
        for outcome in verdict.outcomes:
            name = self.names[outcome.contract]
            changes += self._told(name, outcome)
            safe_ms = self.claims[name].safe_until_ms
            if outcome.gpus is None:
                self._change(name, holds=False)
            else:
                safe_ms = safe_ms if self.claims[name].holds else self.now_ms + self.minimum_ms
                self._change(name, holds=True, gpus=outcome.gpus, safe_until_ms=safe_ms)
        return "; ".join(changes) or "nothing"

    def _told(self, name: str, outcome: Outcome) -> list[str]:
        """What a person would say changed for one of them."""
        found = []
        held = self.claims[name].holds
        if outcome.gpus is not None:
            now = f"has {span(outcome.gpus)}"
        else:
            now = f"waits {outcome.position}"
            if held:
                found.append(f"{name} yields to {' '.join(self.names[by] for by in outcome.to)}")
        if self.shown.get(name) != now:
            found.append(f"{name} {now}")
        self.shown[name] = now
        if self.uniform and outcome.gpus is not None and self.claims[name].price:
            if self.prices.get(name) != outcome.price:
                found.append(f"{name} pays {dollars(outcome.price) / len(outcome.gpus):.2f}")
            self.prices[name] = outcome.price
        return found


_FREE = NanoUsdPerHour(0)


def minutes_ms(text: str) -> int:
    """`20m` or `2h` in milliseconds."""
    return int(text[:-1]) * {"m": 1, "h": 60}[text[-1]] * MINUTE_MS
