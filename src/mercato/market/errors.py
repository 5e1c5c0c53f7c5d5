"""Every way the market says no.

Each message is for the person who asked and says what to do. Which HTTP status a refusal gets is
decided once, in control/api/errors.py.
"""

from typing import ClassVar


class Refusal(Exception):  # noqa: N818 - a refusal is an answer, not a fault
    """The market will not do what was asked."""

    code: ClassVar[str] = "refused"


class InvalidRequest(Refusal):
    """The request cannot be understood."""

    code = "invalid_args"


class InvalidQuery(Refusal):
    """A search query names no known field, operator or value."""

    code = "invalid_request"


class InvalidPrice(Refusal):
    """A price is outside what may be asked or bid."""

    code = "invalid_price"


class NotAuthenticated(Refusal):
    """Nobody knows who is asking."""

    code = "auth_error"


class NotPermitted(Refusal):
    """The key that asks lacks the permission."""

    code = "not_authorized"


class NotYours(Refusal):
    """The thing belongs to somebody else, in a way that may be said."""

    code = "forbidden"


class NoSuchOffer(Refusal):
    """The offer is not, or no longer, on sale."""

    code = "no_such_ask"


class OfferTaken(Refusal):
    """Somebody else was faster."""

    code = "no_such_ask"


class NoSuchInstance(Refusal):
    """There is no such instance among the caller's."""

    code = "no_such_instance"


class NotFound(Refusal):
    """There is no such thing among the caller's."""

    code = "not_found"


class NoSuchVolume(NotFound):
    """There is no such volume among the caller's."""

    code = "no_such_volume"


class NoPriceIncrease(NotFound):
    """No higher price waits for the caller's word."""

    code = "no_pending_price_increase"


class NoSuchSshKey(Refusal):
    """There is no such SSH key among the caller's."""

    code = "no_such_ssh_key"


class InsufficientCredit(Refusal):
    """The account cannot cover the time that it asks for."""

    code = "insufficient_credit"


class SpendingLimitReached(Refusal):
    """A limit that the account set for itself would be passed."""

    code = "spending_limit"


class Conflict(Refusal):
    """It cannot be done in the present state."""

    code = "conflict"


class AlreadyExists(Refusal):
    """A thing of that name is there already."""

    code = "existing_key"


class TooMany(Refusal):
    """A limit on how many or how often was reached."""

    code = "rate_limit_exceeded"


class TooLong(Refusal):
    """A text is longer than may be."""

    code = "input_too_long"


class LabelTooLong(TooLong):
    """A label is longer than may be."""

    code = "label_too_long"


class HostUnavailable(Refusal):
    """The host cannot be heard or could not do it."""

    code = "host_unavailable"
