"""What becomes of a worker that is not well: restarted twice, then replaced."""

from enum import Enum
from typing import Final, NamedTuple

from mercato.engine.post import Post
from mercato.serverless.worker import State

REBOOTS_MAX: Final = 2
WELL_AGAIN_S: Final = 3_600.0
"""After this long without trouble its restarts are forgotten."""
SILENT_REBOOT_S: Final = 60.0
SILENT_DESTROY_S: Final = 180.0
BOOT_MAX_S: Final = 300.0
"""A start from what is on the disk may take this long, loading included, before it counts as
failed; or `BOOT_LONGER` times as long as the last one took."""
BOOT_LONGER: Final = 2.0
LOADING_MAX_S: Final = 900.0
DEGRADED_S: Final = 180.0
"""A worker that does much less than it should for this long is replaced; together with the work
that shows it, within five minutes."""

_BOOTING: Final = frozenset({State.STARTING, State.UPDATING, State.REBOOTING})


class Remedy(Enum):
    """What is to be done."""

    REBOOT = "restart it"
    REPLACE = "give it back"


class Case(NamedTuple):
    """A worker that is not well, and what is to be done about it."""

    remedy: Remedy
    reason: str
    by_market: bool = False
    """Whether it is the market that would not have it well again, and not its machine."""


def look_after(post: Post, now_s: float, loading_max_s: float = LOADING_MAX_S) -> Case | None:
    """What is to be done about a worker now; None when nothing is.

    `loading_max_s` is when a worker that loads its model is taken to be stuck.
    """
    worker = post.worker
    if post.loaded and now_s - post.well_since_s > WELL_AGAIN_S:
        post.reboots, post.refused = 0, ""
    in_state_s = now_s - worker.since_s
    if worker.state is State.ERROR:
        return _error(post, now_s)
    if worker.state in {State.CREATING, State.LOADING} and in_state_s > loading_max_s:
        return Case(Remedy.REPLACE, f"it has been {worker.state.label} for {in_state_s:.0f} s")
    if post.degraded_since_s and now_s - post.degraded_since_s > DEGRADED_S:
        return Case(Remedy.REPLACE, "it does less than 60 % of what it should")
    if worker.state in _BOOTING:
        # A second restart is counted from its own order: the state was the same before.
        boots_s = now_s - max(worker.since_s, post.ordered_s)
        if boots_s > _boot_max_s(post, loading_max_s):
            return _again(post, f"it has been {worker.state.label} for {boots_s:.0f} s")
    return None


def _boot_max_s(post: Post, loading_max_s: float) -> float:
    """How long a start may take; one that has to fetch everything, as long as the first."""
    if not post.on_disk:
        return loading_max_s
    return min(loading_max_s, max(BOOT_MAX_S, BOOT_LONGER * post.load_took_s))


def _error(post: Post, now_s: float) -> Case | None:
    if post.lost:
        silent_s = now_s - post.heard_s
        if silent_s > SILENT_DESTROY_S:
            return Case(Remedy.REPLACE, f"it has not been heard for {silent_s:.0f} s")
        if silent_s > SILENT_REBOOT_S and post.reboots == 0:
            return Case(Remedy.REBOOT, f"it has not been heard for {silent_s:.0f} s")
        return None
    return _again(post, post.error or f"its instance is {post.fact.state.label}")


def _again(post: Post, why: str) -> Case:
    if post.refused:
        why = f"{why}; the market would not restart it: {post.refused}"
    if post.reboots < REBOOTS_MAX:
        return Case(Remedy.REBOOT, why)
    reason = f"{why}; {post.reboots} restarts were tried"
    return Case(Remedy.REPLACE, reason, by_market=bool(post.refused))
