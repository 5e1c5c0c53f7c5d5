"""What a payment provider must do: the port. manual.py and stripe.py do it.

A provider is asked by the payment's own key: asked twice it does once. When its answer is lost it
raises `NoAnswer`; what became of the payment is then unknown, and it is asked again.
"""

from typing import Protocol

import msgspec

from mercato.market.money import NanoUsd
from mercato.market.payment import Purpose, State


class NoAnswer(Exception):  # noqa: N818 - not a fault of anybody's here; the next run asks again
    """The provider could not be asked, or did not say what became of it."""


class Method(msgspec.Struct, frozen=True, kw_only=True):
    """How an account pays and is paid, in the provider's own names."""

    customer: str = ""
    card: str = ""
    """A saved way to pay."""
    card_label: str = ""
    """What a person knows it by: the last four digits."""
    payout_to: str = ""
    """Where its earnings go."""


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """A payment that a provider is to make."""

    payment: int
    key: str
    """Names it for ever: the same key is the same payment."""
    purpose: Purpose
    amount: NanoUsd
    """Whole cents."""
    method: Method
    reference: str = ""
    """The provider's own name for it, once there is one; for a refund, the payment's that it
    takes back."""
    email: str = ""
    return_url: str = ""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider says became of it."""

    state: State
    reference: str = ""
    failure: str = ""
    """Why it failed, for the person whose payment it is."""
    url: str = ""
    """Where a person must go to pay; only for a checkout that waits."""
    method: Method | None = None
    """A way to pay that it saved."""


class Provider(Protocol):
    """Moves money between the world and the market."""

    name: str

    def make(self, ask: Ask) -> Outcome:
        """Make a payment, or begin one that somebody must complete.

        Raises:
            NoAnswer: when nobody knows what became of it.
        """
        ...

    def look(self, ask: Ask) -> Outcome:
        """What became of a payment that waited.

        Raises:
            NoAnswer: when nobody knows.
        """
        ...

    def noticed(self, body: bytes, signature: str, now_ms: int) -> int | None:
        """The payment that a notice of the provider is about; None when it is about none.

        Raises:
            NotFromProvider: when the notice is not the provider's.
        """
        ...


class NotFromProvider(Exception):  # noqa: N818 - somebody else's words
    """A notice that the provider did not sign."""
