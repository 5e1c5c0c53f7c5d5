"""The shadow fleets: what a rule would have cost is charged for what would have happened."""

from mercato.serverless.hindsight import BIN_S, RULES, SETTLE_S, Hindsight, Prices

PRICES = Prices(
    awake_s=1.0, asleep_s=1.0, rent=1.0, late=1e9, worker=300.0, aim_s=10.0, request_s=1.0
)


def test_who_comes_while_a_rule_has_nobody_awake_is_late_under_it() -> None:
    hindsight = Hindsight()
    for _ in range(int(SETTLE_S) // BIN_S):
        hindsight.live((0.0, 0.0), 0.0, 0, PRICES)
    hindsight.live((300.0, 300.0), 300.0, 10, PRICES)
    asleep = [cost for rule, cost in zip(RULES, hindsight.costs, strict=True) if rule.beta < 0.5]
    awake = [cost for rule, cost in zip(RULES, hindsight.costs, strict=True) if rule.beta >= 0.5]
    assert min(asleep) >= 10 * PRICES.late
    assert max(awake) < PRICES.late
