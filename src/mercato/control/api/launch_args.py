"""The launch arguments of a worker group: words of the command line of `create instance`."""

import shlex
from typing import Any, Final

import msgspec

from mercato.control.api.launching import LaunchRequest
from mercato.market import errors

_TEXTS: Final = {
    "--image": "image",
    "--env": "env",
    "--onstart-cmd": "onstart",
    "--login": "image_login",
    "--args": "args_str",
}
_FLAGS: Final = {"--ssh": "ssh", "--jupyter": "jupyter", "--direct": "direct"}


class LaunchArgs(msgspec.Struct, frozen=True, kw_only=True):
    """What they ask for, beside the template."""

    request: LaunchRequest
    disk_gb: float | None = None
    bid: float | None = None
    """Dollars an hour for the slice: workers are interruptible at it."""


def parse_launch_args(text: str) -> LaunchArgs:
    """Read them.

    Raises:
        InvalidRequest: naming the word that is not known or lacks its value.
    """
    try:
        words = shlex.split(text)
    except ValueError as problem:
        raise errors.InvalidRequest(f"launch_args cannot be read: {problem}") from None
    asked: dict[str, Any] = {}
    numbers: dict[str, float] = {}
    ways: list[str] = []
    rest = iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        if name in _FLAGS:
            ways.append(_FLAGS[name])
            continue
        if not equals:
            value = next(rest, "")
        if name in _TEXTS and value:
            asked[_TEXTS[name]] = value
        elif name in {"--disk", "--bid_price"}:
            numbers[name] = _number(name, value)
        else:
            raise errors.InvalidRequest(
                f"{word[:80]!r} is not known in launch_args, or its value is missing; known are"
                f" {', '.join([*_TEXTS, *_FLAGS, '--disk', '--bid_price'])}."
            )
    if ways:
        asked["runtype"] = _runtype(ways)
    return LaunchArgs(
        request=LaunchRequest(**asked),
        disk_gb=numbers.get("--disk"),
        bid=numbers.get("--bid_price"),
    )


def _runtype(ways: list[str]) -> str:
    base = "jupyter" if "jupyter" in ways else "ssh"
    return f"{base}_direct ssh_proxy" if "direct" in ways else f"{base}_proxy"


def _number(name: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not 0 < number < 1_000_000:
        raise errors.InvalidRequest(f"{name} takes a number above 0, not {value[:40]!r}.")
    return number
