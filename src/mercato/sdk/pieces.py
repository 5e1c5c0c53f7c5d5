"""The pieces of a streamed answer, from its bytes as they come, and the value of a whole one.

An event stream has a piece for each event, a stream of lines one for each line, anything else is
one piece. What calls itself otherwise, or nothing, and begins like a stream is read like one.
"""

from enum import StrEnum
from typing import Any, Final

import msgspec

from mercato.sdk.errors import ServerFailed

_LINES: Final = frozenset(
    {
        *("application/x-ndjson", "application/ndjson", "application/jsonl"),
        *("application/x-jsonl", "application/jsonlines", "application/x-jsonlines"),
    }
)
_DONE: Final = "[DONE]"
_ASIDE: Final = (":", "event:", "id:", "retry:")
"""How the lines of an event begin that carry nothing of it."""
_OPENS: Final = ("{", "[", '"')


class _Form(StrEnum):
    EVENTS = "events"
    LINES = "lines"
    WHOLE = "whole"
    UNKNOWN = "unknown"
    """Its first line will tell."""


class _Nothing:
    """A line that is no JSON."""


class Pieces:
    """Reads one answer: `feed` it the bytes, then `end` it; both give the pieces that are whole."""

    def __init__(self, kind: str, *, framed: bool) -> None:
        """`kind` is the content type; `framed` is whether the transport knows where it ends."""
        self._kind = kind
        self._framed = framed
        self._form = _form_of(kind)
        self._line: list[bytes] = []
        """The line that has not ended; of a whole answer, all of it."""
        self._event: list[str] = []
        """The text of the event that has not ended."""

    def feed(self, content: bytes) -> list[Any]:
        """The pieces that ended within these bytes."""
        if self._form is _Form.WHOLE or b"\n" not in content:
            self._line.append(content)
            return []
        made: list[Any] = []
        *lines, rest = b"".join([*self._line, content]).split(b"\n")
        for at, line in enumerate(lines):
            if self._form is _Form.UNKNOWN and line.strip():
                self._form = _likely(line)
            if self._form is _Form.WHOLE:
                self._line = [b"\n".join([*lines[at:], rest])]
                return made
            made += self._ended(line.decode(errors="replace").removesuffix("\r"))
        self._line = [rest]
        return made

    def end(self) -> list[Any]:
        """What is left when no more bytes come.

        Raises:
            ServerFailed: when it broke off in the middle of a line or an event.
        """
        content = b"".join(self._line)
        if not content.strip():
            return self._end_of_event()
        if self._form in {_Form.WHOLE, _Form.UNKNOWN}:
            return [value_of(content, self._kind)]
        return self._last(content.decode(errors="replace"))

    def _ended(self, line: str) -> list[Any]:
        if self._form is not _Form.EVENTS:
            return _of_line(line)
        if not line:
            return self._flush()
        if not line.startswith("data:"):
            # A comment or another field; bare JSON is taken from who writes no fields.
            found = _json(line)
            return [] if found is _Nothing else [found]
        text = line.removeprefix("data:").removeprefix(" ")
        # JSON is not held back until its event ends: some never write the empty line.
        found = _Nothing if self._event else _json(text)
        if found is _Nothing:
            self._event.append(text)
            return []
        return [found]

    def _flush(self) -> list[Any]:
        text, self._event = "\n".join(self._event), []
        return _of_line(text)

    def _end_of_event(self) -> list[Any]:
        done = "\n".join(self._event).strip() in {"", _DONE}
        if not (done or self._framed):
            raise _broken_off()
        return self._flush()

    def _last(self, line: str) -> list[Any]:
        """A last line that has no end: whole where the transport says so, or when it is seen to be.

        A worker may have passed on what broke off behind it: half of a JSON value is none.
        """
        if self._form is _Form.EVENTS and _is_aside(line):
            return self._end_of_event()
        text = line.removeprefix("data:") if self._form is _Form.EVENTS else line
        no_field = self._form is _Form.EVENTS and not line.startswith("data:")
        half = (no_field or text.strip().startswith(_OPENS)) and _json(text) is _Nothing
        whole = self._framed and not half
        if not whole and (
            self._event or (text.strip() != _DONE and not self._is_whole(_json(text)))
        ):
            raise _broken_off()
        return self._ended(line) + self._flush()

    def _is_whole(self, found: Any) -> bool:
        # A number that was cut is a number still.
        cut = isinstance(found, int | float) and not isinstance(found, bool)
        return found is not _Nothing and (self._framed or not cut)


def value_of(content: bytes, kind: str) -> Any:
    """A whole answer: decoded JSON; text or bytes when it is something else."""
    try:
        return msgspec.json.decode(content) if content else None
    except msgspec.DecodeError:
        return content.decode(errors="replace") if kind.startswith("text/") else content


def _form_of(kind: str) -> _Form:
    name = kind.partition(";")[0].strip().lower()
    if name == "text/event-stream":
        return _Form.EVENTS
    return _Form.LINES if name in _LINES else _Form.UNKNOWN


def _likely(line: bytes) -> _Form:
    """What an answer is by its first line, which says more than a wrong content type."""
    text = line.decode(errors="replace")
    if _is_aside(text):
        return _Form.EVENTS
    if text.startswith("data:") and _json(text.removeprefix("data:")) is not _Nothing:
        return _Form.EVENTS
    return _Form.LINES if isinstance(_json(text), dict | list) else _Form.WHOLE


def _is_aside(line: str) -> bool:
    return line.startswith(_ASIDE)


def _of_line(text: str) -> list[Any]:
    """The piece that a whole line or event is, if it is one."""
    if text.strip() in {"", _DONE}:
        return []
    found = _json(text)
    return [text if found is _Nothing else found]


def _json(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return _Nothing


def _broken_off() -> ServerFailed:
    return ServerFailed("the worker's answer broke off in the middle of a piece")
