"""Payments by hand: the operator moves the money and says that it was done."""

from mercato.control.payments.provider import Ask, NotFromProvider, Outcome
from mercato.market.payment import State


class Manual:
    """Waits for the operator, whatever the payment."""

    name = "manual"

    def make(self, ask: Ask) -> Outcome:
        """Leave it to the operator."""
        return Outcome(state=State.WAITING, reference=f"manual-{ask.payment}")

    def look(self, ask: Ask) -> Outcome:
        """Wait on: only the operator knows."""
        return Outcome(state=State.WAITING, reference=ask.reference)

    def noticed(self, body: bytes, signature: str, now_ms: int) -> int | None:
        """Nobody sends notices of manual payments."""
        del body, signature, now_ms
        raise NotFromProvider("Manual payments have no notices.")
