"""The house's rules: what the operator set, and the key to what is kept sealed."""

from dataclasses import dataclass, field

import msgspec

from mercato.control.secrets_box import SecretsBox
from mercato.market import credit
from mercato.market.listing import BidTerms
from mercato.market.money import MS_PER_HOUR
from mercato.wire.sealing import Signer


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator may set; the defaults are those of docs/decisions."""

    horizon_ms: int = MS_PER_HOUR
    """Time is granted only while credit covers this much of every running rate."""
    deletion_buffer_ms: int = 24 * MS_PER_HOUR
    """Credit for this much storage is kept back, so that data outlives the GPU time."""
    low_credit_ms: int = MS_PER_HOUR
    """An account is warned when its credit lasts less than this."""
    unknown_after_ms: int = 30_000
    offline_after_ms: int = 90_000
    """A machine not heard for this long is offline; its meters end at the last proof of life."""
    purge_after_ms: int = 48 * MS_PER_HOUR
    """Data is kept this long past a contract's end."""
    kept_ms: int = 90 * 24 * MS_PER_HOUR
    """Destroyed instances stay readable this long."""
    platform_fee_ppm: int = 0
    simulated_verified: bool = False
    """Whether machines with declared hardware are verified as they join: demonstrations only."""
    bids_sold: bool = True
    """Whether interruptible contracts are sold."""
    bids: BidTerms = BidTerms()
    """On what terms, where the host does not say."""
    notice_ms_min: int = 10_000
    """No host may warn for less."""
    end_ms: int = 10_000
    """The end of a notice, between the signal to end and the end itself."""
    webhooks_anywhere: bool = False
    """Whether webhooks may be plain HTTP or at private addresses: for a market of one's own."""
    join_token_ms: int = 24 * MS_PER_HOUR

    @property
    def credit(self) -> credit.Care:
        """How long before the end an account is warned, and how long disks outlive GPU time."""
        return credit.Care(
            warning_ms=self.low_credit_ms, deletion_buffer_ms=self.deletion_buffer_ms
        )


STANDARD = Rules()


@dataclass(frozen=True, slots=True)
class House:
    """What flows need of the house."""

    box: SecretsBox
    rules: Rules = field(default=STANDARD)

    @property
    def signer(self) -> Signer:
        """Signs usage records; its key grows from the data key, so that there is one to keep."""
        return Signer(self.box.derived("mercato usage records"))
