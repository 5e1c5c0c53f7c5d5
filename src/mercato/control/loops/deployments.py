"""The loop of deployments: those that nobody wants any more end, and code that nobody runs goes.

It goes once no link to it is good any more: until then somebody may still be bringing it, and what
came after it had been removed would stay for ever.
"""

from mercato.control.blobs.blobs import LINK_S, Blobs
from mercato.control.db import Database
from mercato.control.flows import deploying
from mercato.control.loops.loop import Each, Loop, Report, summed
from mercato.control.store import deployments


def deployment_loop(db: Database, blobs: Blobs) -> Loop:
    """The one loop. Nobody is blamed for silence while it did not run."""
    runs_since_ms: int | None = None
    ended = Each("deployments")

    def tend(now_ms: int) -> Report:
        nonlocal runs_since_ms
        runs_since_ms = now_ms if runs_since_ms is None else runs_since_ms
        silent = db.run_now(deployments.silent, now_ms)
        since_ms = runs_since_ms
        report = ended(
            silent,
            lambda one: {"ended": db.run_now(deploying.expire, one, now_ms, since_ms)},
        )
        waste = db.run_now(deployments.waste, now_ms - LINK_S * 1_000)
        for version in waste:
            if not db.run_now(deployments.is_needed, version):
                blobs.remove(version.blob, now_ms)
            db.run_now(deployments.removed, version.id, now_ms)
        return summed([{"ended": 0}, report, {"removed": len(waste)}])

    return Loop(
        "deployments", "Ends deployments past their time to live; forgets old code.", 5, tend
    )
