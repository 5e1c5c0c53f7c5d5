"""A route: one row of the table in routes.py."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, get_type_hints

from mercato.market.access import Permission

Handle = Callable[..., Awaitable[object]]
"""`async (call, asked) -> answer`; `asked` is the arguments as the annotated struct."""

SAFE: Final = frozenset({"GET", "HEAD"})


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path: who may use it and what answers.

    What it takes and gives are the annotations of its function, its summary the first line of that
    function's docstring, so that nothing is said twice.
    """

    method: str
    path: str
    """With `{name}` for a part that varies; no trailing slash (both forms are served)."""
    permission: Permission
    handle: Handle
    own_instance: bool = False
    """An instance's own key may use it on that instance."""
    own_worker: bool = False
    """A worker's own key may use it; the function sees whether it concerns that worker."""
    streams: bool = False
    """Its body is not JSON and may be large: the function reads it as it comes."""
    scope: str | None = None
    """By which a permission file names this route alone (market/access.py)."""
    knows_caller: bool = False
    """A public route that treats somebody with a key better; a wrong key is refused."""
    reads: bool = False
    """It changes nothing although its method could: no line in the audit log."""
    refused_in_body: bool = False
    """The official CLI shows of an error here only its status: it gets a refusal as a 200 that
    says `success: false`, which it does show."""

    @property
    def mutates(self) -> bool:
        """Whether using it leaves a line in the audit log."""
        return self.method not in SAFE and not self.reads

    @property
    def takes(self) -> Any:
        """The struct of its arguments."""
        return _annotation(self.handle, "asked")

    @property
    def gives(self) -> Any:
        """The type of its answer."""
        return _annotation(self.handle, "return")

    @property
    def summary(self) -> str:
        """What it does, in a line."""
        return (self.handle.__doc__ or "").strip().splitlines()[0].rstrip(".")

    @property
    def name(self) -> str:
        """The `operationId`: its function, told apart by method and path in openapi.py."""
        return self.handle.__name__


@cache
def _annotation(handle: Handle, name: str) -> Any:
    return get_type_hints(handle)[name]
