"""Port allocation."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mercato.agent.ports import NoPortLeft, allocate, reachable, wishes
from mercato.wire.agent import Jupyter, Port
from tests.agent.builders import wanted

some_wishes = st.lists(st.integers(1, 71_000).map(lambda n: f"{n}/tcp"), max_size=8, unique=True)


@given(some_wishes, st.sets(st.integers(40_000, 40_040), max_size=8))
def test_ports_are_distinct_in_the_range_and_nobody_elses(
    wanted_ports: list[str], taken: set[int]
) -> None:
    got = allocate(wanted_ports, {}, taken, (40_000, 40_031))
    assert list(got) == wanted_ports
    assert len(set(got.values())) == len(got)
    assert not set(got.values()) & taken
    assert all(40_000 <= port <= 40_031 for port in got.values())


@given(some_wishes, some_wishes)
def test_a_port_once_given_is_kept(before: list[str], after: list[str]) -> None:
    first = allocate(before, {}, (), (40_000, 40_031))
    second = allocate(after, first, (), (40_000, 40_031))
    assert all(second[wish] == first[wish] for wish in set(before) & set(after))
    assert len(set(second.values())) == len(second)


def test_a_port_that_the_machine_uses_is_passed_over() -> None:
    got = allocate(["80/tcp"], {}, (), (40_000, 40_001), lambda port: port != 40_000)
    assert got == {"80/tcp": 40_001}


def test_a_full_range_is_said_to_be_full() -> None:
    with pytest.raises(NoPortLeft, match="40000 to 40000"):
        allocate(["80/tcp", "81/tcp"], {}, (), (40_000, 40_000))


def test_ways_in_come_with_the_mode() -> None:
    assert wishes(wanted(1, ports=(Port(container=80), Port(container=53, protocol="udp")))) == (
        "22/tcp",
        "80/tcp",
        "53/udp",
    )
    assert wishes(wanted(1, ssh=False)) == ()
    assert Jupyter(token="t").directory == "/"


def test_an_identity_port_is_the_same_inside_and_outside() -> None:
    assert reachable({"70000/tcp": 40_005, "80/tcp": 40_006}) == {
        "40005/tcp": 40_005,
        "80/tcp": 40_006,
    }
