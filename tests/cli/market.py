"""The program in the hands of the people of a real market whose containers are pretended."""

import json
import subprocess
from dataclasses import dataclass
from typing import Any

from tests.cli.conftest import Run, assert_one_clear_line
from tests.e2e.conftest import Market


@dataclass(frozen=True)
class Person:
    """Somebody at a shell: `mercato` with their key."""

    run: Run
    url: str
    key: str

    def __call__(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run the program, whatever comes of it."""
        return self.run(*arguments, MERCATO_URL=self.url, MERCATO_API_KEY=self.key, **more)

    def says(self, *arguments: str) -> str:
        """What it prints when it succeeds."""
        done = self(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def raw(self, *arguments: str) -> Any:
        """The JSON that it prints for programs."""
        return json.loads(self.says(*arguments, "--raw"))

    def refuses(self, *arguments: str, **about: str) -> None:
        """It fails with one clear line that has these words."""
        assert_one_clear_line(self(*arguments), *about.values())


def person(run: Run, market: Market, role: str) -> Person:
    """The market's renter, host or operator."""
    return Person(run, market.url, market.keys[role])
