"""What the agent remembers."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from mercato.agent.engine import Contained, Measured
from mercato.agent.memory import Counters, Failure, Memory


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1_000)), max_size=30))
def test_byte_counters_never_fall(readings: list[tuple[int, int]]) -> None:
    counters = Counters()
    run = 0
    for new_run, up in readings:
        run += new_run
        before = counters.up, counters.down
        container = Contained(instance=1, revision=0, boots=0, running=True, started_at_ms=run)
        counters = counters.seen(container, Measured(up_bytes=up, down_bytes=2 * up))
        assert counters.up >= before[0]
        assert counters.down >= before[1]


def test_a_restart_adds_to_what_was_counted() -> None:
    first = Contained(instance=1, revision=0, boots=0, running=True, started_at_ms=1)
    second = Contained(instance=1, revision=0, boots=0, running=True, started_at_ms=2)
    counters = Counters().seen(first, Measured(up_bytes=100))
    assert counters.seen(second, Measured(up_bytes=7)).up == 107


def test_what_is_remembered_outlives_the_process(tmp_path: Path) -> None:
    path = tmp_path / "agent.sqlite"
    memory = Memory(path)
    failure = Failure(revision=1, boots=2, message="broken")
    kept = memory.change(5, ports={"22/tcp": 40_000}, failure=failure)
    memory.change(6, settled=True)
    memory.forget(6)
    generation = memory.next_generation()
    again = Memory(path)  # the first was never closed, as after kill -9
    assert again.of(5) == kept
    assert 6 not in again.instances
    assert again.next_generation() > generation
    assert path.stat().st_mode & 0o077 == 0


def test_ports_of_others(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "agent.sqlite")
    memory.change(1, ports={"22/tcp": 40_000})
    memory.change(2, ports={"22/tcp": 40_001})
    assert set(memory.ports_of_others(1)) == {40_001}
