"""A machine whose GPU toolkit lets containers out offers no GPU, and is told what to do."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mercato.agent.docker import DockerEngine
from mercato.agent.engine import StepFailed
from mercato.agent.facts.toolkit import read_toolkit
from mercato.agent.toolkit import ESCAPES, refusal
from tests.agent.builders import MACHINE, wanted

CTK = "NVIDIA Container Toolkit CLI version {}\ncommit: 9b69590c7428470a72f2ae05f826412976af1395\n"
RUNTIME = "NVIDIA Container Runtime version {}\ncommit: ac8f190\nspec: 1.2.0\n"
CLI = "cli-version: {}\nlib-version: 1.0.0\nbuild date: 2023-07-13T14:05+00:00\n"
OLDEST, BYPASS, NEWEST = (name for name, _ in ESCAPES)


@pytest.mark.parametrize(
    ("version", "known"),
    [
        ("1.4.0", (OLDEST, BYPASS, NEWEST)),
        ("1.16.1", (OLDEST, BYPASS, NEWEST)),
        ("1.16.2", (BYPASS, NEWEST)),
        ("1.17.3", (BYPASS, NEWEST)),
        ("1.17.4", (NEWEST,)),
        ("1.17.7", (NEWEST,)),
        ("1.17.8-rc.1", (NEWEST,)),
        ("1.17.8~rc.2", (NEWEST,)),
        ("1.17.8", ()),
        ("1.17.9", ()),
        ("1.18.0-rc.1", ()),
        ("1.18.0", ()),
        ("2.0.0", ()),
    ],
)
@pytest.mark.parametrize("said", [CTK, RUNTIME, CLI])
def test_what_is_known_of_a_version(said: str, version: str, known: tuple[str, ...]) -> None:
    why = refusal(said.format(version))
    assert [name for name, _ in ESCAPES if name in why] == list(known)
    assert bool(why) == bool(known)
    if known:
        assert "upgrade nvidia-container-toolkit to 1.17.8 or later" in why
        assert version[:6] in why


@given(st.tuples(*[st.integers(0, 30)] * 3))
def test_a_version_is_refused_when_any_escape_is_open_in_it(version: tuple[int, int, int]) -> None:
    why = refusal(CTK.format(".".join(map(str, version))))
    assert bool(why) == any(version < fixed for _, fixed in ESCAPES)


def test_without_a_toolkit_nothing_is_refused_and_an_unreadable_one_is() -> None:
    assert refusal(None) == ""
    for said in ("", "nvidia-ctk: command failed", "version one"):
        assert "cannot be read; upgrade nvidia-container-toolkit" in refusal(said)


def test_the_toolkit_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert read_toolkit() is None
    program = tmp_path / "nvidia-container-runtime"
    program.write_text("#!/bin/sh\necho NVIDIA Container Runtime version 1.16.1\n")
    program.chmod(0o755)
    said = read_toolkit()
    assert said is not None
    assert OLDEST in refusal(said)
    program.write_text("not a program of this machine")
    assert read_toolkit() == ""


async def test_an_engine_that_may_give_no_gpu_starts_nothing_with_one(tmp_path: Path) -> None:
    why = refusal(CTK.format("1.17.7"))
    engine = DockerEngine("test", MACHINE, {0: "GPU-0"}, "192.0.2.1", tmp_path, no_gpus=why)
    assert engine.trouble == why, "the host is told"
    instance = wanted(1, gpus=(0,))
    with pytest.raises(StepFailed, match=NEWEST):
        await engine.make(instance, {}, lambda _said: None)
    with pytest.raises(StepFailed, match=NEWEST):
        await engine.start(instance)
