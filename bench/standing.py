"""A new offer against 10,000 standing orders, beside asking each of them in turn."""

import random
from dataclasses import replace
from math import inf

from measure import quantile, times_ms, told
from mercato.catalog.index import Index
from mercato.catalog.language import parse
from mercato.catalog.standing import Standing, StandingQueries
from mercato.control.api.offer_fields import OFFERS, cost_of

ORDERS = 10_000
MODELS = [f"GPU {number}" for number in range(40)]


def main() -> None:
    luck = random.Random(7)
    standing = StandingQueries(OFFERS, cost_of)
    asked = []
    for number in range(ORDERS):
        body = {
            "gpu_name": {"eq": luck.choice(MODELS)},
            "num_gpus": {"gte": luck.choice((1, 2, 4))},
            "cpu_ram": {"gte": luck.choice((8_000.0, 64_000.0))},
            "inet_down": {"gte": luck.choice((0.0, 100.0))},
            "verified": {"eq": True},
            "rentable": {"eq": True},
        }
        query = replace(parse(body, OFFERS), order=(), limit=1)
        asked.append(query)
        standing.add(Standing(number, query, luck.uniform(0.1, 4.0), (0.0, number)))
    row: dict[str, object] = {
        "gpu_name": MODELS[3],
        "num_gpus": 4,
        "cpu_ram": 128_000,
        "inet_down": 500.0,
        "verification": "verified",
        "rentable": True,
        "dph_base": 1.0,
        "min_bid": 0.4,
        "storage_cost": 0.1,
    }
    print(f"{ORDERS} standing orders, {len(standing.answered_by(row, 0))} answered")
    ours = times_ms(lambda: standing.answered_by(row, 0), 500)

    alone = Index(OFFERS)
    alone.change({1: row})
    each = times_ms(lambda: [query for query in asked if alone.search_ids(query, 0)], 3, warm=1)
    print(told("bounds in columns", ours))
    print(told("each query in turn", each))
    print(f"ratio of medians: {quantile(each, 0.5) / quantile(ours, 0.5):.0f}x")
    assert quantile(ours, 0.5) < inf


if __name__ == "__main__":
    main()
