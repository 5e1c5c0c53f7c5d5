"""How amounts, times and sizes are written for people."""

from datetime import UTC, datetime
from typing import Final

_UNITS: Final = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))


def money(dollars: float | None) -> str:
    """`$1.23`, and as many digits as it takes for less than a cent."""
    if dollars is None:
        return "-"
    if dollars < 0:
        return f"-{money(-dollars)}"
    if dollars and abs(dollars) < 0.01:
        return f"${dollars:.6f}"
    return f"${dollars:,.2f}" if abs(dollars) >= 100 else f"${dollars:.4f}"


def span(seconds: float | None) -> str:
    """`3d 4h`, `12m 5s`: the two largest units."""
    if seconds is None:
        return "-"
    left = max(0, int(seconds))
    parts: list[str] = []
    for unit, size in _UNITS:
        if left >= size or (unit == "s" and not parts):
            parts.append(f"{left // size}{unit}")
            left %= size
    return " ".join(parts[:2])


def number(value: float | None, digits: int = 0) -> str:
    """A number with that many digits, `-` when there is none."""
    return "-" if value is None else f"{value:,.{digits}f}"


def moment(seconds: float | None) -> str:
    """`2031-04-07 13:05:59 UTC`, of seconds since the epoch."""
    if seconds is None:
        return "-"
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
