"""The notice that an instance's programs read when its GPUs go to somebody else. Pure."""

from typing import Final

import msgspec

from mercato.wire.agent import DesiredInstance

PATH: Final = "/run/mercato/notice.json"

NONE: Final = "{}\n"
"""What stands there when a notice was taken back, or belonged to an earlier run."""


def text(wanted: DesiredInstance) -> str:
    """What the file says: when its GPUs go (seconds since the epoch), why, and that in words."""
    notice = wanted.notice
    if notice is None:
        return NONE
    told = {
        "yields_at": notice.yields_at_ms / 1_000,
        "reason": notice.reason,
        "message": notice.message,
    }
    return msgspec.json.encode(told).decode() + "\n"


def ends_at_ms(wanted: DesiredInstance) -> int:
    """What tells one notice from another; 0 for none."""
    return 0 if wanted.notice is None else wanted.notice.yields_at_ms
