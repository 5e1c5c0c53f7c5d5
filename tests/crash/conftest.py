"""What the tests of crashes run on."""

from tests.agent.conftest import box

__all__ = ["box"]
