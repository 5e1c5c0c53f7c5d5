"""For programs: a typed client of the public API."""

from mercato.sdk.asking import Answered, Progress, Stage
from mercato.sdk.client import AsyncMercato, Mercato
from mercato.sdk.errors import Failure

__all__ = ["Answered", "AsyncMercato", "Failure", "Mercato", "Progress", "Stage"]
