"""What holds for every test: how laws are tried, and that nobody inherits another's log.

The ordinary run tries the same cases each time, so that it judges the change and not its luck;
`MERCATO_NEW_CASES=1` (and `make laws`) has Hypothesis look for new ones.
"""

import os
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import HealthCheck, settings

# A case may take its time, for the machine may be busy.
settings.register_profile(
    "mercato",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize="MERCATO_NEW_CASES" not in os.environ,
)
settings.load_profile("mercato")


@pytest.fixture(autouse=True)
def log_of_its_own() -> Iterator[None]:
    """A test that runs a program in this process has its log set up: the next one starts afresh."""
    yield
    structlog.reset_defaults()
