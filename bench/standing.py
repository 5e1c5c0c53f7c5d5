"""A new offer against 10,000 standing orders, beside asking each of them in turn."""

import random
from dataclasses import replace

from measure import Table, ms, quantile, report, times_ms
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
    answered = len(standing.answered_by(row, 0))
    ours = times_ms(lambda: standing.answered_by(row, 0), 500)

    alone = Index(OFFERS)
    alone.change({1: row})
    each = times_ms(lambda: [query for query in asked if alone.search_ids(query, 0)], 3, warm=1)
    floor = quantile(each, 0.5)
    rows = [
        [
            name,
            ms(quantile(times, 0.5)),
            ms(quantile(times, 0.99)),
            f"{quantile(times, 0.5) / floor:.4f}",
        ]
        for name, times in (("bounds in columns", ours), ("each query in turn", each))
    ]
    report(
        __file__,
        "A new offer against standing orders",
        f"{ORDERS:,} standing orders, of which one offer answers {answered}.",
        [Table("", ("way", "p50 ms", "p99 ms", "of each in turn"), rows)],
    )


if __name__ == "__main__":
    main()
