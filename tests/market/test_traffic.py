"""How many bytes can have moved."""

from random import Random

from mercato.market.traffic import LINK_BYTES_PER_S, SLACK_MS, believed

HOUR = 3_600_000


def test_counts_never_fall_and_rise_no_faster_than_a_link_carries() -> None:
    luck = Random(5)
    count = at_ms = 0
    for _ in range(1_000):
        passed_ms = luck.choice((-5, 0, 7, 1_000, HOUR))
        said = luck.choice((-1, 0, count - 1, count, count + 9, luck.randrange(10**30)))
        after = believed(count, said, passed_ms)
        assert after >= count
        assert after <= max(count, said)
        count, at_ms = after, at_ms + max(0, passed_ms) + SLACK_MS
        assert count <= LINK_BYTES_PER_S * at_ms // 1_000


def test_what_a_link_carries_is_believed_to_the_byte() -> None:
    carried = LINK_BYTES_PER_S * 3_600
    assert believed(17, 17 + carried, HOUR) == 17 + carried
