"""The port: files that clients bring and workers fetch without passing through the API.

A file has a flat name that its content decides, so that writing one twice changes nothing. Whoever
holds a link may use it, for this one file and for a while.
"""

import re
from typing import Final, Protocol

import msgspec

from mercato.market import errors

NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,199}")
LINK_S: Final = 3_600
"""How long a link is good: long enough for a large file over a slow line."""


class BlobsTrouble(Exception):  # noqa: N818 - what is the matter, in the words of the operator
    """The store cannot be reached or does not do what it is asked; the message says why."""


class Form(msgspec.Struct, frozen=True, kw_only=True):
    """How to bring a file: a POST of `multipart/form-data`, the fields first, then `file`."""

    url: str
    fields: dict[str, str]


class Blobs(Protocol):
    """Files by name. Every method may block, and may raise BlobsTrouble."""

    def form(self, name: str, size: int, origin: str, now_ms: int) -> Form:
        """A form that takes one file of exactly `size` bytes.

        `origin` is where whoever asks reaches this server.
        """
        ...

    def link(self, name: str, origin: str, now_ms: int) -> str:
        """A URL from which the file can be fetched."""
        ...

    def has(self, name: str, now_ms: int) -> bool:
        """Whether it was brought, all of it."""
        ...

    def remove(self, name: str, now_ms: int) -> None:
        """Forget a file; nothing when there is none."""
        ...


def checked(name: str) -> str:
    """A name that no path can hide in.

    Raises:
        NotFound: when it is none.
    """
    if not NAME.fullmatch(name):
        raise errors.NotFound("There is no such file.")
    return name
