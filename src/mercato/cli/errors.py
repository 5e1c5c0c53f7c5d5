"""Troubles of the program itself, told in one line."""

from typing import Final

INTERRUPTED: Final = 130
"""The exit status of a command that Ctrl-C ended."""


class Trouble(Exception):  # noqa: N818 - a trouble is told to a person, not handled
    """Something on this machine is not as it must be; the message says what to do."""

    def __init__(self, message: str, *, exit_code: int = 1) -> None:
        """Keep the one line to tell and the status to exit with."""
        super().__init__(message)
        self.message = message
        self.exit_code = exit_code
