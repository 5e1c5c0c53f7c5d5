"""Reaching into a container, and letting go of it."""

import asyncio
import os
from pathlib import Path

import pytest

from mercato.agent.door.container import opened


class HangsUp:
    """An engine that is asked by a visitor who hangs up before the second answer."""

    def __init__(self) -> None:
        self._asked = False

    async def pid(self, instance: int) -> int:
        del instance
        if self._asked:
            raise asyncio.CancelledError
        self._asked = True
        return os.getpid()


def _open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_who_hangs_up_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    before = _open_descriptors()
    for _ in range(5):
        with pytest.raises(asyncio.CancelledError):
            await opened(HangsUp(), 1, "ns/mnt")
    assert _open_descriptors() == before
