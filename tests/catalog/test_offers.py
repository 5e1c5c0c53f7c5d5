"""Offers are searched by the names that clients use."""

import msgspec

from mercato.catalog.index import Index
from mercato.catalog.language import parse, parse_text
from mercato.control.api.offer_fields import OFFERS

ROW = {
    "id": 257, "gpu_name": "RTX 4090", "num_gpus": 2, "gpu_ram": 24_564, "dph_base": 0.5,
    "min_bid": 0.2, "storage_cost": 0.72, "dlperf": 100.0, "total_flops": 80.0,
    "gpu_total_ram": 49_128, "verification": "verified", "hosting_type": 1, "reliability": 1.0,
    "credit_discount_max": 0.4, "geolocation": "Texas, US", "external": None, "end_date": 100.0,
    "driver_vers": 535_086_005, "disk_space": 100.0,
}  # fmt: skip


def test_an_offer_is_found_by_text_and_priced_for_the_disk_asked_for() -> None:
    index = Index(OFFERS)
    index.change({257: ROW})
    text = "gpu_name in [RTX_4090] gpu_ram>=24 geolocation=US verified=true external=false"
    body = parse_text(f"{text} driver_version>=535.86.05 dph<0.52", OFFERS)
    query = parse({**body, "allocated_storage": 10}, OFFERS)
    (row,) = msgspec.json.decode(index.search(query, 50_000))
    assert round(row["dph_total"], 9) == 0.51
    assert (row["duration"], row["is_bid"], row["dph_base"]) == (50.0, False, 0.5)
    bid = parse({"type": "interruptible"}, OFFERS)
    assert msgspec.json.decode(index.search(bid, 0))[0]["dph_base"] == 0.2
