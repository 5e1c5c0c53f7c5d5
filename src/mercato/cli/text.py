"""How amounts, times and sizes are written for people."""

import re
import shlex
import unicodedata
from datetime import UTC, datetime
from typing import Final

HIDDEN: Final = "***"

_SECRET: Final = re.compile(
    r"(TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|PRIVATE|KEY|PASS|PAT|AUTH)S?(_|\d|$)"
)
_NO_SECRET: Final = re.compile(r"PUBLIC|KEY_IDS?$")

_ASSIGNED: Final = re.compile(r"(--env=|-e=?)?([^=]+)=(.*)", re.DOTALL)

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


def shown(name: str, value: object) -> object:
    """A named value as a person sees it, over whose shoulder others look.

    What its name says is secret is hidden, if it is not empty; so is what the pairs of a list, as
    an environment is given, call so.
    """
    if isinstance(value, list):
        return [[pair[0], shown(pair[0], pair[1])] if _is_pair(pair) else pair for pair in value]
    upper = name.upper()
    hidden = value and _SECRET.search(upper) and not _NO_SECRET.search(upper)
    return HIDDEN if hidden else value


def shown_options(text: str) -> str:
    """Options in Docker's style, `-e A=1 -p 80:80`, as a person sees them.

    Nothing is shown of what no shell could take apart: it may end in a secret.
    """
    try:
        return " ".join(map(_shown_word, shlex.split(text)))
    except ValueError:
        return HIDDEN


def _shown_word(word: str) -> str:
    found = _ASSIGNED.fullmatch(word)
    if found is None or shown(found[2], found[3]) != HIDDEN:
        return shlex.quote(word)
    return shlex.quote((found[1] or "") + found[2]) + f"={HIDDEN}"


def printable(text: str) -> str:
    r"""Text of others as a terminal may have it: what is no letter to it stands as `\x1b`."""
    return "".join(
        each if _is_harmless(each) else each.encode("unicode_escape").decode() for each in text
    )


def _is_harmless(letter: str) -> bool:
    """Whether a terminal only shows it: letters, every width of space, and what joins emoji."""
    is_space = unicodedata.category(letter) == "Zs"
    return letter.isprintable() or is_space or letter in "\n\t\u200d"


def _is_pair(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)
