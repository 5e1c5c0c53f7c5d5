"""A real HTTP server for each test."""

from collections.abc import Iterator

import pytest

from tests.sdk.answering import Answers, answering


@pytest.fixture
def server() -> Iterator[Answers]:
    with answering() as answers:
        yield answers
