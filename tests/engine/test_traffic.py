"""How much was asked is kept minute by minute, once, and not lost while the market is away."""

from hypothesis import given
from hypothesis import strategies as st

from mercato.engine.traffic import MINUTES_MAX, Traffic
from tests.engine.scene import Asking, Scene

ARRIVALS = st.lists(st.tuples(st.floats(0, 600), st.floats(0, 1e6)), max_size=60)


@given(ARRIVALS, st.floats(0, 700))
def test_every_request_of_a_minute_that_is_over_is_counted_once(
    arrivals: list[tuple[float, float]], now_s: float
) -> None:
    traffic = Traffic()
    for at_s, units in arrivals:
        traffic.arrive(at_s, units)
    over = [(at_s, units) for at_s, units in arrivals if at_s // 60 < now_s // 60]
    minutes = traffic.ended(now_s)
    seconds = {
        minute.at_s + each.second: (each.requests, each.units)
        for minute in minutes
        for each in minute.seconds
    }
    assert list(seconds) == sorted({int(at_s) for at_s, _ in over})
    for second, (requests, units) in seconds.items():
        there = [units for at_s, units in over if int(at_s) == second]
        assert requests == len(there)
        assert abs(units - sum(there)) < 1e-3
    traffic.forget(minutes)
    assert traffic.ended(now_s) == []
    rest = traffic.ended(1e9)
    assert sum(each.requests for minute in rest for each in minute.seconds) == (
        len(arrivals) - len(over)
    )


def test_a_market_that_is_away_for_days_is_told_the_last_day() -> None:
    traffic = Traffic()
    for minute in range(MINUTES_MAX + 5):
        traffic.arrive(minute * 60.0, 1.0)
    assert next(iter(traffic.ended(1e9))).at_s == 5 * 60


async def test_an_engine_has_its_market_keep_what_was_asked() -> None:
    scene = await Scene().open()
    Asking(scene, 30.0)
    Asking(scene, 12.0).again()  # asks again with its number: no new request
    await scene.engine.keep()
    assert not scene.market.traffic, "the minute that runs is not over"
    scene.clock.time_s += 60.0
    scene.market.reachable = False
    await scene.engine.keep()
    scene.market.reachable = True
    await scene.engine.keep()
    await scene.engine.keep()
    [minute] = scene.market.traffic.values()
    assert [(each.requests, each.units) for each in minute.seconds] == [(2, 42.0)]
    Asking(scene, 5.0)
    await scene.engine.keep(last=True)
    assert len(scene.market.traffic) == 2, "an engine that ends tells of the minute that runs too"
