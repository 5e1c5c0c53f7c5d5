"""Whether a request comes from the engine: its ticket, checked.

Every ticket is signed over the worker's address, as the official worker verifies it: that is one
RSA check per address, remembered. Alone it can be used again and again for ever, by anybody who has
seen it. So where the engine says that it gives them, Mercato's fuller ticket is required too: for
this worker, this cost, one use, one minute.
"""

import base64
import binascii
from enum import Enum
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from mercato.pyworker.clock import Clock
from mercato.pyworker.place import Place
from mercato.wire.worker import TICKET_TTL_MS, AuthData, issued_ms, shared_secret, signed_text

SIGNATURES_KEPT: Final = 64
USED_KEPT_S: Final = 2 * TICKET_TTL_MS / 1e3
"""A used ticket is remembered for this long at least: twice its life, so that an engine's clock may
be set back by a minute."""


class Verdict(Enum):
    """What a ticket turned out to be."""

    GOOD = "good"
    FORGED = "not the engine's, or not for this worker"
    USED = "used before"
    LATE = "the engine's, and out of date: its bearer may ask for another"


# Python 3.11 calls a function to look a member up on its class; this one is asked for with every
# request.
GOOD: Final = Verdict.GOOD


class BadKey(Exception):  # noqa: N818 - said of the engine's answer
    """The engine's public key cannot be read."""


class TicketCheck:
    """Checks tickets against one engine's key and clock."""

    def __init__(self, place: Place, clock: Clock) -> None:
        """Nothing is good until `trust` has been told the engine's key."""
        self._place = place
        self._secret = shared_secret(place.token)
        self._clock = clock
        self._key: RSAPublicKey | None = None
        self._full = False
        self._ahead_ms = 0.0
        self._born_ms: float | None = None
        self._signatures: dict[str, str] = {}
        """The signature last found good, by the address that it is over."""
        # Hashes of tickets used since the last turn, and between that and the turn before.
        self._used: set[int] = set()
        self._used_before: set[int] = set()
        self._turned_s = clock.steady_s()

    def trust(self, pem: str, *, full: bool) -> None:
        """Take the engine's key; `full` when the engine puts a ticket in every route's answer.

        Raises:
            BadKey: when it is not an RSA public key.
        """
        try:
            key = load_pem_public_key(pem.encode())
        except ValueError as error:
            raise BadKey(f"the engine's public key cannot be read: {error}") from error
        if not isinstance(key, RSAPublicKey):
            raise BadKey("the engine's public key is not an RSA key")
        self._key = key
        self._full = full and bool(self._place.token)
        self._signatures.clear()

    def hear_clock(self, engine_ms: float) -> None:
        """What the engine's clock says now."""
        self._ahead_ms = engine_ms - self._clock.steady_s() * 1e3
        if self._born_ms is None:
            self._born_ms = engine_ms

    @property
    def ready(self) -> bool:
        """Whether tickets can be told apart."""
        return self._place.unsecured or self._key is not None

    def check(self, auth: AuthData) -> Verdict:
        """What a ticket is; a good one is used up by this."""
        if self._place.unsecured:
            return GOOD
        if auth.signature != self._signatures.get(auth.url) and not self._verified(auth):
            return Verdict.FORGED
        if self._full:
            return self._fully(auth)
        return GOOD if auth.url == self._place.url else Verdict.FORGED

    def _verified(self, auth: AuthData) -> bool:
        if self._key is None:
            return False
        try:
            signature = base64.b64decode(auth.signature, validate=True)
            self._key.verify(signature, signed_text(auth.url), PKCS1v15(), SHA256())
        except (InvalidSignature, binascii.Error, ValueError):
            return False
        if len(self._signatures) >= SIGNATURES_KEPT:
            self._signatures.clear()
        self._signatures[auth.url] = auth.signature
        return True

    def _fully(self, auth: AuthData) -> Verdict:
        issued = issued_ms(self._secret, auth, self._place.id)
        if issued is None:
            return Verdict.FORGED
        now_s = self._clock.steady_s()
        now_ms = now_s * 1e3 + self._ahead_ms
        # What was used before this worker's start is not remembered, so that none of it is good.
        if now_ms >= issued + TICKET_TTL_MS or issued < (self._born_ms or now_ms):
            return Verdict.LATE
        return self._use(hash(auth.ticket), now_s)

    def _use(self, ticket: int, now_s: float) -> Verdict:
        if now_s - self._turned_s >= USED_KEPT_S:
            self._used_before, self._used, self._turned_s = self._used, set(), now_s
        if ticket in self._used or ticket in self._used_before:
            return Verdict.USED
        self._used.add(ticket)
        return GOOD
