"""Workers write where they work: each test has a directory of its own for that."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def directory_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
