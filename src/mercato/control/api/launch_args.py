"""What a worker group asks for: words of the command line of `create instance`, over its template.

Its workers are made by nobody's command line: a flag that could not mean here what it means there
is refused when the group is made, with what to do instead, and not when a worker is wanted.
"""

import re
import shlex
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from mercato.catalog.language import parse_text
from mercato.control.api.creating import DISK_GB_DEFAULT, DISK_GB_MAX
from mercato.control.api.launching import LaunchRequest, launch_of
from mercato.control.api.offer_fields import OFFERS
from mercato.control.secrets_box import SecretsBox
from mercato.control.store.templates import StoredTemplate
from mercato.control.store.worker_groups import StoredGroup
from mercato.market import errors
from mercato.market.launch import Launch

WORKER_PORT: Final = 3000
_PORT: Final = re.compile(r"[0-9]{1,5}")

_TEXTS: Final = {
    "--image": "image",
    "--env": "env",
    "--extra": "extra",
    "--onstart-cmd": "onstart",
    "--entrypoint": "entrypoint",
    "--login": "image_login",
    "--user": "user",
    "--jupyter-dir": "jupyter_dir",
    "--label": "label",
}
_NUMBERS: Final = {"--disk": "disk_gb", "--bid-price": "bid"}
_WAYS: Final = {"--ssh": "ssh", "--jupyter": "jupyter", "--direct": "direct"}
_SWITCHES: Final = {
    "--jupyter-lab": "use_jupyter_lab",
    "--lang-utf8": "lang_utf8",
    "--python-utf8": "python_utf8",
    "--force": "force",
}
_ALWAYS: Final = frozenset({"--cancel-unavail"})
"""What holds for every worker, whether it is said or not."""

_ARGS: Final = "--args"

_NO_VOLUME: Final = "a volume lies on one machine and workers are rented on many; leave it out."
_INSTEAD: Final = {
    # The official client reads the file where it runs and sends what it says: here only the name
    # of a file on somebody's own machine came, and workers without the script would be no use.
    "--onstart": "it names a file on your own machine, of which only the name arrives here; send"
    ' what the file says as --onstart-cmd "…", or put it into the template.',
    "--template-hash": "the group has a field for it; send template_hash beside launch_args.",
    "--create-volume": _NO_VOLUME,
    "--link-volume": _NO_VOLUME,
    "--volume-size": _NO_VOLUME,
    "--volume-label": _NO_VOLUME,
    "--mount-path": _NO_VOLUME,
}


class LaunchArgs(msgspec.Struct, frozen=True, kw_only=True):
    """What they ask for, beside the template."""

    request: LaunchRequest
    label: str | None = None
    disk_gb: float | None = None
    bid: float | None = None
    """Dollars an hour for the slice: workers are interruptible at it."""


def parse_launch_args(text: str) -> LaunchArgs:
    """Read them.

    Raises:
        InvalidRequest: naming the word that is not known or lacks its value.
    """
    try:
        words = iter(shlex.split(text))
    except ValueError as problem:
        raise errors.InvalidRequest(f"launch_args cannot be read: {problem}") from None
    asked: dict[str, Any] = {}
    ways: list[str] = []
    for word in words:
        name = word.partition("=")[0].replace("_", "-")
        if name in _WAYS:
            ways.append(_WAYS[name])
        elif name in _SWITCHES:
            asked[_SWITCHES[name]] = True
        elif name not in _ALWAYS:
            field, value = _with_value(name, word, words)
            asked[field] = value
    if asked.keys() & {"jupyter_dir", "use_jupyter_lab"}:
        ways.append("jupyter")
    if ways:
        asked["runtype"] = _runtype(ways)
    entrypoint = asked.pop("entrypoint", None)
    if entrypoint is not None:
        asked.setdefault("onstart", entrypoint)  # as the official client does
    own = {name: asked.pop(name, None) for name in ("label", "disk_gb", "bid")}
    return LaunchArgs(request=LaunchRequest(**asked), **own)


def _with_value(name: str, word: str, rest: Iterator[str]) -> tuple[str, Any]:
    """The field that a flag sets, and to what; the value may be the next of the `rest`."""
    spelled, equals, value = word.partition("=")
    if name in _INSTEAD:
        raise errors.InvalidRequest(f"{spelled} cannot be in launch_args: {_INSTEAD[name]}")
    if name == _ARGS:
        return "args", [*([value] if equals else []), *rest]  # all that follows
    value = value if equals else next(rest, "")
    if name in _TEXTS and value:
        return _TEXTS[name], value
    if name in _NUMBERS:
        return _NUMBERS[name], _number(spelled, value)
    known = [*_TEXTS, *_NUMBERS, *_WAYS, *_SWITCHES, *sorted(_ALWAYS), _ARGS]
    raise errors.InvalidRequest(
        f"{word[:80]!r} is not known in launch_args, or its value is missing; known are"
        f" {', '.join(known)}."
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


def worker_launch(
    args: LaunchArgs, template: StoredTemplate, box: SecretsBox
) -> tuple[Launch, int]:
    """What workers run, but for what is each one's own, and the port on which they serve.

    Raises:
        InvalidRequest: naming what cannot be run.
    """
    launch = launch_of(args.request, template, box)
    told = launch.env.get("WORKER_PORT", str(WORKER_PORT))
    port = int(told) if _PORT.fullmatch(told) else 0
    if not 0 < port < 65_536:
        raise errors.InvalidRequest(f"WORKER_PORT is a port from 1 to 65535, not {told[:40]!r}.")
    return launch, port


def worker_disk_gb(args: LaunchArgs, template: StoredTemplate) -> float:
    """The disk of each worker.

    Raises:
        InvalidRequest: when no machine can have it.
    """
    wished: float | None = template.body.get("recommended_disk_space")
    disk_gb = args.disk_gb or wished or DISK_GB_DEFAULT
    if not 0 < disk_gb <= DISK_GB_MAX:
        raise errors.InvalidRequest(f"disk must be above 0 and at most {DISK_GB_MAX:g} GB.")
    return disk_gb


def worker_query(group: StoredGroup, args: LaunchArgs, template: StoredTemplate) -> dict[str, Any]:
    """Which offers may become workers: what the group asks, over its template, over the default.

    Raises:
        InvalidRequest: when their disk cannot be.
        InvalidQuery: when the group's query cannot be read.
    """
    disk_gb = worker_disk_gb(args, template)
    wished: dict[str, Any] = template.body.get("extra_filters") or {}
    query = {"verified": {"eq": True}, **wished, **parse_text(group.search_params, OFFERS)}
    if group.gpu_ram_mb:
        query.setdefault("gpu_total_ram", {"gte": group.gpu_ram_mb})
    return query | {
        "type": "on-demand",
        "order": [["dph_total", "asc"]],
        "rentable": {"eq": True},
        "disk_space": {"gte": disk_gb},
        "allocated_storage": disk_gb,
    }
