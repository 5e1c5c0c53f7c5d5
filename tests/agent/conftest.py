"""What the agent's Docker tests share."""

import pytest

from tests.agent.real import IMAGE, build_box


@pytest.fixture(scope="session")
def box() -> str:
    """The name of an image with nothing but busybox in it."""
    build_box()
    return IMAGE
