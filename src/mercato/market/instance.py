"""An instance's life: what its facts mean, what each state bills and holds.

Nothing stores a state. The renter and the market write what is intended, the agent writes what is
actual, and `state_of` reads the two together. The drawn page is docs/states/instance.md.
"""

from enum import Enum, StrEnum

import msgspec


class Intended(StrEnum):
    """What should be. Written by the renter and by the market."""

    RUNNING = "running"
    STOPPED = "stopped"
    DESTROYED = "destroyed"


class Actual(StrEnum):
    """What is. Written only from the agent's report."""

    ABSENT = "absent"
    """The host has nothing of it: not created yet, or removed."""
    LOADING = "loading"
    """The image is being pulled or the container made."""
    RUNNING = "running"
    STOPPED = "stopped"
    """A container exists and does not run, because it was stopped."""
    EXITED = "exited"
    """The container's main process ended by itself."""
    FAILED = "failed"
    """It could not be started; the status message says why."""


class Reason(StrEnum):
    """Why an intention is what it is; shown to whoever asks what happened."""

    RENTED = "rented"
    USER = "user"
    OUTBID = "outbid"
    ON_DEMAND = "on_demand"
    NO_CREDIT = "no_credit"
    EXPIRED = "expired"
    HOST = "host"
    EXITED = "exited"
    FAILED = "failed"
    SPENDING_LIMIT = "spending_limit"
    RESUMED = "resumed"
    ENDPOINT = "endpoint"


class Bills(StrEnum):
    """Which meters run."""

    NOTHING = "nothing"
    STORAGE = "storage"
    STORAGE_AND_GPU = "storage and GPU"


class State(Enum):
    """What a person sees: label, what it bills, whether it holds its GPUs, what it means."""

    SCHEDULING = ("scheduling", Bills.STORAGE, False, "wants to run and waits for its GPUs")
    CREATING = ("creating", Bills.STORAGE, True, "has its GPUs; its host has not begun yet")
    LOADING = ("loading", Bills.STORAGE, True, "its host pulls the image and makes the container")
    RUNNING = ("running", Bills.STORAGE_AND_GPU, True, "its container runs")
    STOPPING = ("stopping", Bills.STORAGE, True, "was told to stop and still holds its GPUs")
    STOPPED = ("stopped", Bills.STORAGE, False, "keeps its disk and holds no GPU")
    EXITED = ("exited", Bills.STORAGE, False, "its main process ended by itself")
    FAILED = ("failed", Bills.STORAGE, False, "could not be started")
    OFFLINE = ("offline", Bills.NOTHING, True, "its host cannot be heard")
    DESTROYING = ("destroying", Bills.NOTHING, True, "is being removed from its host")
    DESTROYED = ("destroyed", Bills.NOTHING, False, "is gone for good")

    def __init__(self, label: str, bills: Bills, holds_gpus: bool, meaning: str) -> None:  # noqa: FBT001 - the columns of a table
        """Name the columns of the table above."""
        self.label = label
        self.bills = bills
        self.may_hold_gpus = holds_gpus
        self.meaning = meaning


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """All that decides an instance's state."""

    intended: Intended
    actual: Actual
    holds_gpus: bool
    machine_online: bool = True
    pausing: bool = False
    """It was told to give up the GPUs that it still holds: its notice has ended."""


def state_of(facts: Facts) -> State:
    """The state of an instance from its facts. Total: every combination has one."""
    if facts.intended is Intended.DESTROYED:
        gone = facts.actual is Actual.ABSENT and not facts.holds_gpus
        return State.DESTROYED if gone else State.DESTROYING
    if not facts.machine_online:
        return State.OFFLINE
    if facts.intended is Intended.STOPPED:
        return _stopped(facts)
    if not facts.holds_gpus:
        return State.SCHEDULING
    if facts.pausing:
        return State.STOPPING
    return _WANTED[facts.actual]


def _stopped(facts: Facts) -> State:
    if facts.holds_gpus or facts.actual in {Actual.RUNNING, Actual.LOADING}:
        return State.STOPPING
    return {Actual.EXITED: State.EXITED, Actual.FAILED: State.FAILED}.get(
        facts.actual, State.STOPPED
    )


_WANTED = {
    Actual.ABSENT: State.CREATING,
    Actual.LOADING: State.LOADING,
    Actual.RUNNING: State.RUNNING,
    Actual.STOPPED: State.CREATING,
    Actual.EXITED: State.STOPPING,
    Actual.FAILED: State.STOPPING,
}
