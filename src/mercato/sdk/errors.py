"""Every way a call can fail, for whoever made it.

`Failure` is the base; each carries a message written for a person and, when the server answered,
its error code and HTTP status.
"""

from typing import Any


class Failure(Exception):  # noqa: N818 - a name of the trade, like Refusal
    """A call did not do what it was to do."""

    def __init__(self, message: str, *, code: str = "", status: int = 0) -> None:
        """Keep the message for a person, the server's error code, and the HTTP status (0: none)."""
        super().__init__(message)
        self.message = message
        self.code = code
        self.status = status


class Unreachable(Failure):
    """No server answered at that address."""


class BadQuery(Failure):
    """The search text cannot be understood; nothing was sent."""


class Refused(Failure):
    """The server understood and said no (4xx): `code` and `message` say why."""


class NotAuthenticated(Refused):
    """The key is missing or unknown."""


class NotFound(Refused):
    """There is no such thing, or not for this key."""


class Busy(Refused):
    """Too many calls in too short a time, even after waiting and trying again."""


class ServerFailed(Failure):
    """The server answered that it failed (5xx), or with something that is no answer."""


class TimedOut(Failure):
    """What was waited for did not happen in time."""


def failure(status: int, body: Any, text: str) -> Failure:
    """The failure that an HTTP answer with `status` >= 400 stands for.

    `body` is its decoded JSON, or None when it had none; `text` is what it said verbatim.
    """
    code, message = "", ""
    if isinstance(body, dict):
        code = str(body.get("error") or "")
        message = str(body.get("msg") or body.get("message") or body.get("detail") or code)
    # Some answers begin with their code, for programs that read nothing else.
    message = message.removeprefix(f"{code}: ") if code else message
    message = message or text.strip()[:200] or f"the server answered {status}"
    if status >= 500:
        return ServerFailed(message, code=code, status=status)
    kind = {401: NotAuthenticated, 404: NotFound, 410: NotFound, 429: Busy}.get(status, Refused)
    return kind(message, code=code, status=status)
