"""Heads that a connection has seen before, known again without being parsed.

Who keeps a connection says the same head with every message but for the length of the body. Parsing
it costs a call for each header, together a third of all that a worker does for a request; so the
bytes of the last head are kept beside what the parser made of them. The parser alone says what a
head means: only one that is the same, byte for byte but for the digits of its length, is known.
"""

import re
from typing import Any, Final

from mercato.http.call import Headers, Kept

DIGITS_MAX: Final = 12
"""A length of more digits is the parser's business."""
TRIES: Final = 4
"""After so many heads that were not known again, a connection's heads are kept no more: they are
different every time, or few."""

_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,%d})\r\n" % DIGITS_MAX, re.IGNORECASE)


class Heads:
    """What the last head of one connection looked like, and what it said."""

    __slots__ = (
        "_after",
        "_before",
        "_body_bytes_max",
        "_head",
        "_length_at",
        "_tries",
        "_whole",
        "body_at",
        "headers",
        "what",
    )

    def __init__(self, body_bytes_max: int) -> None:
        """A message with a longer body is left to the parser."""
        self._body_bytes_max = body_bytes_max
        self._tries = TRIES
        self._whole = 0
        """Bytes of the last message, its head and its body."""
        self._head = self._before = self._after = b""
        self.body_at = 0
        self._length_at = -1
        """Which of the headers says the length; -1: none."""
        self.headers = Kept(())
        self.what: Any = None
        """What else the parser has made of it."""

    def again(self, packet: bytes) -> bool:
        """Whether a packet is one whole message with a head that is known.

        If so, its body begins at `body_at`, and `headers` and `what` are what it says.
        """
        if len(packet) == self._whole and packet.startswith(self._head):
            self._tries = TRIES
            return True
        return self._length_at >= 0 and self._with_another_length(packet)

    def _with_another_length(self, packet: bytes) -> bool:
        at = len(self._before)
        end = packet.find(b"\r", at, at + DIGITS_MAX + 1)
        digits = packet[at:end]
        if not (
            end > 0
            and digits.isdigit()
            and packet.startswith(self._before)
            and packet.startswith(self._after, end)
        ):
            return False
        length, body_at = int(digits), end + len(self._after)
        if length > self._body_bytes_max or len(packet) != body_at + length:
            return False
        self._tries = TRIES
        self._head, self._whole, self.body_at = packet[:body_at], len(packet), body_at
        headers = Kept(self.headers, self.headers.lines)
        headers[self._length_at] = (headers[self._length_at][0], digits)
        self.headers = headers
        return True

    def learn(self, packet: bytes, headers: Headers, body_bytes: int, what: Any) -> None:
        """Keep the head of a message, if there was nothing but that message in `packet`.

        The parser must have found it whole, and its connection good for another.
        """
        if not self._tries:
            return
        body_at = packet.find(b"\r\n\r\n") + 4
        if len(packet) != body_at + body_bytes:
            return
        self._tries -= 1
        names = [name.lower() for name, _ in headers]
        if b"transfer-encoding" in names:
            return
        head = packet[:body_at]
        if b"content-length" in names:
            said = _LENGTH.search(head)
            if said is None or int(said[1]) != body_bytes:
                return  # the body is not what the length says, as with a 304
            self._before, self._after = head[: said.start(1)], head[said.end(1) :]
            self._length_at = names.index(b"content-length")
        else:
            self._length_at = -1
        self._head, self._whole, self.body_at = head, len(packet), body_at
        self.headers, self.what = Kept(headers), what
