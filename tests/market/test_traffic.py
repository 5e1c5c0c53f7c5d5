"""How many bytes can have moved."""

from random import Random

from mercato.market.traffic import LINK_BYTES_PER_S, SLACK_MS, believed

HOUR = 3_600_000


def test_counts_never_fall_and_rise_no_faster_than_a_link_carries() -> None:
    luck = Random(5)
    count = at_ms = 0
    for _ in range(1_000):
        passed_ms = luck.choice((0, 0, 7, 1_000, HOUR))
        at_ms += passed_ms
        said = luck.choice((-1, 0, count - 1, count, count + 9, luck.randrange(10**30)))
        after = believed(count, said, passed_ms, at_ms)
        assert after >= count
        assert after <= max(count, said)
        assert after - count <= LINK_BYTES_PER_S * (passed_ms + SLACK_MS) // 1_000
        count = after
        assert count <= LINK_BYTES_PER_S * (at_ms + SLACK_MS) // 1_000, "however many reports"


def test_what_a_link_carries_is_believed_to_the_byte() -> None:
    carried = LINK_BYTES_PER_S * 3_600
    assert believed(17, 17 + carried, HOUR, 2 * HOUR) == 17 + carried
    assert believed(0, carried, -5, HOUR) < carried, "a clock that went back gives no time"
