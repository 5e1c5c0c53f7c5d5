"""A live server for the API's tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.control.api.serving import Served, served


@pytest.fixture
def server(database_url: str, tmp_path: Path) -> Iterator[Served]:
    """A server with an operator, a host, a renter with credit and somebody else."""
    with served(database_url, tmp_path) as running:
        yield running
