"""What the simulation's tests run on."""

from tests.control.conftest import server_of_databases

__all__ = ["server_of_databases"]
