"""Which HTTP status each refusal gets, and the one shape of every error."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

import msgspec

from mercato.market import errors


class UnknownPath(errors.Refusal):
    """No route has this path."""

    code: ClassVar[str] = "not_found"


class WrongMethod(errors.Refusal):
    """The path exists, for other methods."""

    code: ClassVar[str] = "method_not_allowed"


class BodyTooLarge(errors.Refusal):
    """The body is larger than any request needs."""

    code: ClassVar[str] = "body_too_large"


class NotOffered(errors.Refusal):
    """A command of the official client that this market does not offer yet."""

    code: ClassVar[str] = "not_available"


class KeyReused(errors.Refusal):
    """An Idempotency-Key came back with another request."""

    code: ClassVar[str] = "idempotency_key_reused"


class PrepayWithoutCredit(errors.InsufficientCredit):
    """There is too little credit for a deposit; documented with a status of its own."""


STATUS: Final[Mapping[type[errors.Refusal], int]] = {
    errors.Refusal: 400,
    errors.InvalidRequest: 400,
    errors.InvalidQuery: 400,
    errors.InvalidPrice: 400,
    errors.NotAuthenticated: 401,
    errors.NotPermitted: 403,
    errors.NotYours: 403,
    errors.NoSuchOffer: 404,
    errors.OfferTaken: 410,
    errors.NoSuchInstance: 404,
    errors.NotFound: 404,
    errors.NoSuchSshKey: 404,
    errors.NoSuchVolume: 404,
    errors.NoPriceIncrease: 404,
    # 400 and not 402: the official client's callers look for the 400 class here.
    errors.InsufficientCredit: 400,
    errors.SpendingLimitReached: 400,
    errors.Conflict: 409,
    errors.AlreadyExists: 400,
    errors.TooMany: 429,
    errors.TooLong: 400,
    errors.LabelTooLong: 400,
    # Not 503: the client repeats a mutation on 503, and the host may have begun it.
    errors.HostUnavailable: 409,
    UnknownPath: 404,
    WrongMethod: 405,
    BodyTooLarge: 413,
    # Not 501: a server that works must never answer 5xx.
    NotOffered: 400,
    KeyReused: 422,
    PrepayWithoutCredit: 411,
}
"""Complete: a test looks for a refusal without a status."""


class ErrorBody(msgspec.Struct, frozen=True, kw_only=True):
    """Every error, whatever went wrong."""

    success: bool = False
    error: str
    """A code for programs."""
    msg: str
    """For a person: what was wrong and what to do."""


class ErrorTwice(ErrorBody, frozen=True, kw_only=True):
    """An error for a client that looks for the text of some under another name."""

    message: str


def status_of(refusal: errors.Refusal) -> int:
    """The HTTP status of a refusal: its own class's, or the nearest base class's."""
    return next(STATUS[base] for base in type(refusal).__mro__ if base in STATUS)


def error_body(code: str, message: str, *, also: bool = False) -> bytes:
    """The encoded body of an error; `also` as `message`."""
    told = ErrorTwice(error=code, msg=message, message=message) if also else None
    return msgspec.json.encode(told or ErrorBody(error=code, msg=message))


def explain(problem: msgspec.ValidationError, known: Mapping[str, Any]) -> str:
    """Say which argument is wrong, in the words of whoever sent it."""
    text = str(problem)
    if "missing required" in text:
        return f"{text}; known arguments: {', '.join(sorted(known))}"
    what, _, where = text.partition(" - at `$")
    place = where.rstrip("`").lstrip(".")
    return f"{place}: {what[0].lower()}{what[1:]}." if place else text
