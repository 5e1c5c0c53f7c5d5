"""What is remembered of pulls by a login, without an engine."""

from pathlib import Path

import aiodocker
import pytest

from mercato.agent.memory import Memory
from mercato.agent.private_images import PrivateImages


async def test_a_pull_that_never_began_is_not_remembered(tmp_path: Path) -> None:
    memory = Memory()
    images = PrivateImages(memory)
    async with aiodocker.Docker(url=f"unix://{tmp_path}/none.sock") as docker:
        for _ in range(2):
            with pytest.raises(aiodocker.DockerError):
                async with images.coming(docker, "acme/model:1"):
                    raise AssertionError("it has no engine to come from")
    assert not images._under_way["acme/model:1"]
    assert memory.facts("") == {}
