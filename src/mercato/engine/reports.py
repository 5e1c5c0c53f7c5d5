"""Workers' reports as they come: what can be read of them is taken, and the rest is left out.

A worker sends a refused report again and again, and some send on what strangers have put into a
request: one bad row must not keep all that comes with it from being heard.
"""

import json
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

import msgspec

from mercato.wire.worker import DeleteRequests, Finished, Status

Kind = TypeVar("Kind", bound=msgspec.Struct)

NEEDED: Final = frozenset(
    {"id", "mtoken", "loadtime", "max_perf", "slots", "boot", "sequence", "url"}
)
"""What a worker's place in the rotation hangs on: without one of these nothing is believed."""
BYTES_MAX: Final = 1_024 * 1_024
"""Of a report that is read a second time, more slowly."""
BAD_MAX: Final = 100
"""Parts of it that may be bad: each costs the time of many good ones."""
IDXS: Final = "working_request_idxs"

_STATUS: Final = {field.name: field.type for field in msgspec.structs.fields(Status)}


class Unreadable(ValueError):  # noqa: N818 - an answer to a worker, not a fault of ours
    """A report that says nothing; the message says why."""


Knows = Callable[[int, str], bool]
"""Whether there is a worker of this number with this token."""


def status_of(body: bytes, knows: Knows) -> tuple[Status, list[str]]:
    """A worker's word on how it is, and the names of what was left out of it.

    `knows` is asked before anything is read more slowly: nobody else gets so much of our time.

    Raises:
        Unreadable: when it is no report, or what has to be believed cannot be read.
    """
    left: list[str] = []
    try:
        status = msgspec.json.decode(body or b"{}", type=Status, strict=False)
    except (msgspec.DecodeError, UnicodeDecodeError):
        said = _plain(body)
        _whose(said.get("id"), said.get("mtoken"), knows)
        status = _status(said, left)
    status.error_msg, status.url = _text(status.error_msg or ""), _text(status.url)
    return status, left


def _status(said: dict[str, Any], left: list[str]) -> Status:
    parts: dict[str, Any] = {}
    for name, kind in _STATUS.items():
        if name not in said:
            continue
        try:
            if name == IDXS and isinstance(said[name], list):
                parts[name] = list(_numbers(said[name], left))
            else:
                parts[name] = msgspec.convert(said[name], kind, strict=False)
        except msgspec.ValidationError as error:
            if name in NEEDED:
                raise Unreadable(f"the body cannot be read: {error} - {name}") from None
            left.append(name)
            if name == "error_msg":
                parts[name] = _text(str(said[name]))  # something is wrong, whatever it is
    return _whole(parts, Status)


def _numbers(said: Iterable[Any], left: list[str]) -> Iterable[int]:
    for number in said:
        try:
            yield msgspec.convert(number, int, strict=False)
        except msgspec.ValidationError:
            _leave(left, f"{IDXS}: {_text(repr(number))[:40]}")


def finished_of(body: bytes, knows: Knows) -> tuple[DeleteRequests, list[str]]:
    """A worker's word on what it is done with, and the rows that were left out of it.

    `knows` as for `status_of`.

    Raises:
        Unreadable: when it is no such word, or does not say whose.
    """
    try:
        return msgspec.json.decode(body or b"{}", type=DeleteRequests, strict=False), []
    except (msgspec.DecodeError, UnicodeDecodeError):
        said = _plain(body)
    _whose(said.get("worker_id"), said.get("mtoken"), knows)
    rows, left = said.get("requests"), list[str]()
    told = _whole(said | {"requests": []}, DeleteRequests)
    for row in rows if isinstance(rows, list) else [rows]:
        try:
            finished = msgspec.convert(row, Finished, strict=False)
        except msgspec.ValidationError as error:
            _leave(left, f"a finished request: {_text(str(error))}")
        else:
            finished.status = _text(finished.status)
            told.requests.append(finished)
    return told, left


def _whose(worker: Any, token: Any, knows: Knows) -> None:
    try:
        ours = knows(msgspec.convert(worker, int, strict=False), str(token or ""))
    except msgspec.ValidationError:
        ours = False
    if not ours:
        raise Unreadable("the body cannot be read, and no worker of ours has sent it")


def _leave(left: list[str], what: str) -> None:
    left.append(what)
    if len(left) > BAD_MAX:
        raise Unreadable(f"the body cannot be read: more than {BAD_MAX} parts of it are bad")


def _text(text: str) -> str:
    """Text without what neither UTF-8 nor a database has: halves of characters, and zeros."""
    return text.encode("utf-8", "replace").decode().replace("\0", "")


def _whole(said: dict[str, Any], kind: type[Kind]) -> Kind:
    try:
        return msgspec.convert(said, kind, strict=False)
    except msgspec.ValidationError as error:
        raise Unreadable(f"the body cannot be read: {error}") from None


def _plain(body: bytes) -> dict[str, Any]:
    """A body as Python's own reader has it: that knows the NaN which Python's own writer writes."""
    if len(body) > BYTES_MAX:
        raise Unreadable("the body cannot be read, and is long")
    try:
        said = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"the body cannot be read: {error}") from None
    if not isinstance(said, dict):
        raise Unreadable("the body cannot be read: it is no object")
    return said
