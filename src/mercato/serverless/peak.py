"""The highest value of late: a sliding maximum, in amortised constant time."""

import msgspec


class Peak(msgspec.Struct):
    """The highest value of the last `bins` bins."""

    bins: int
    at: list[int] = msgspec.field(default_factory=list)
    values: list[float] = msgspec.field(default_factory=list)
    """Those that may yet be the highest: falling, each with its bin."""

    def push(self, at: int, value: float) -> float:
        """Add the value of bin `at`; the highest of those that count now."""
        while self.values and self.values[-1] <= value:
            self.values.pop()
            self.at.pop()
        self.values.append(value)
        self.at.append(at)
        while self.at[0] <= at - self.bins:
            del self.at[0]
            del self.values[0]
        return self.values[0]
