"""Searching with the official client: every form in which a query can be said.

The market has a machine of eight GPUs in Germany (fifteen offers) and one of two in Texas (three).
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator

import httpx2
import pytest
from vastai import SyncClient, VastAI
from vastai.data.query import Query

from tests.e2e.conftest import Market, pretended
from tests.e2e.official import Official

pytestmark = [pytest.mark.client, pytest.mark.slow]

ALL = {"RTX_4090": 15, "H100_SXM": 3}
EIGHT = {"RTX_4090": 15}
TWO = {"H100_SXM": 3}

QUERIES = {
    "": ALL,
    "num_gpus=8": {"RTX_4090": 1},
    "num_gpus == 2": {"RTX_4090": 4, "H100_SXM": 1},
    "num_gpus!=1": {"RTX_4090": 7, "H100_SXM": 1},
    "num_gpus>1 num_gpus<8": {"RTX_4090": 6, "H100_SXM": 1},
    "num_gpus in [1,8]": {"RTX_4090": 9, "H100_SXM": 2},
    "num_gpus notin [1,2]": {"RTX_4090": 3},
    "num_gpus gte 4": {"RTX_4090": 3},
    "gpu_name=RTX_4090": EIGHT,
    'gpu_name="RTX 4090"': EIGHT,
    "gpu_name=H100-SXM": TWO,
    'gpu_name in ["RTX 4090", "H100 SXM"]': ALL,
    "gpu_name in [RTX_4090,H100_SXM]": ALL,
    "gpu_name notin [RTX_4090]": TWO,
    "gpu_name=rtx_4090": {},
    "geolocation=DE": EIGHT,
    "geolocation in [TW,US]": TWO,
    "geolocation notin [CN,US]": EIGHT,
    # Gigabytes and days are typed; megabytes and seconds are sent.
    "gpu_ram>=24": ALL,
    "gpu_ram>=60": TWO,
    "gpu_total_ram>=190": {"RTX_4090": 1},
    "cpu_ram>600": TWO,
    "duration>=3000": ALL,
    "duration>4000": {},
    "cuda_vers>=12.8": EIGHT,
    "cuda_max_good<12.8": TWO,
    "driver_version>=560.00.00": EIGHT,
    "driver_version=550.54.15": TWO,
    "dph<0.3": {"RTX_4090": 8, "H100_SXM": 2},
    "dph_total>=2": {"RTX_4090": 1},
    "dlperf_usd>400": TWO,
    "reliability>0.99": EIGHT,
    "reliability>=0.98 reliability<0.99": TWO,
    "inet_down>=2000 inet_up>=2000": EIGHT,
    "disk_space>=2000": {"RTX_4090": 3, "H100_SXM": 1},
    "cpu_cores_effective>64": {"RTX_4090": 1},
    "gpu_frac=1": {"RTX_4090": 1, "H100_SXM": 1},
    "static_ip=any": ALL,
    "verified=any": ALL,
    "verified=False": {},
    "rentable=* external=?": ALL,
    "datacenter=True": {},
    "datacenter=False": ALL,
    "has_avx=1": ALL,
    "cpu_arch=arm64": {},
    "gpu_arch in [nvidia,amd]": ALL,
    "rented=False": ALL,
    "vms_enabled=True": {},
    "cluster_id=null": ALL,
}


@pytest.fixture(scope="module")
def pretend() -> Iterator[Market]:
    """A market of its own, for what others still rent would be missing from the counts."""
    with pretended() as up:
        yield up


@pytest.fixture(scope="module")
def renter(pretend: Market) -> Iterator[Official]:
    with pretend.official("renter") as client:
        yield client


@pytest.mark.parametrize("query", QUERIES)
def test_queries_find_what_they_say(renter: Official, query: str) -> None:
    words = [query] if query else []
    found = Counter(row["Model"] for row in renter.ok("search offers", *words).table())
    assert found == QUERIES[query]


@pytest.mark.parametrize("form", ["--new", "-n", "--no-default", "--storage 5", "--type on-demand"])
def test_other_forms_of_a_search_find_the_same(renter: Official, form: str) -> None:
    found = Counter(row["Model"] for row in renter.ok(f"search offers {form}").table())
    assert found == ALL


def column(renter: Official, line: str, heading: str) -> list[str]:
    return [row[heading] for row in renter.ok(line).table()]


def test_order_and_limit(renter: Official) -> None:
    prices = [float(one) for one in column(renter, "search offers -o dph", "$/hr")]
    assert prices == sorted(prices)
    backwards = [float(one) for one in column(renter, "search offers -o dph-", "$/hr")]
    assert backwards == sorted(prices, reverse=True)
    assert column(renter, "search offers -o num_gpus-,dlperf- --limit 3", "N") == ["8x", "4x", "4x"]
    assert len(column(renter, "search offers --limit 1", "ID")) == 1
    scores = [float(one) for one in column(renter, "search offers", "score")]
    assert scores == sorted(scores, reverse=True)
    assert column(renter, "search offers", "ID") == column(renter, "search offers", "ID")


def test_storage_and_rental_type_change_the_prices(renter: Official) -> None:
    def price(options: str) -> float:
        (row,) = renter.ok(f"search offers {options}", "num_gpus=8").table()
        return float(row["$/hr"])

    plain, stored = price("--storage 0"), price("--storage 720")
    assert plain == pytest.approx(8 * 0.25)
    assert stored - plain == pytest.approx(0.15, abs=1e-4)  # 720 GB at 0.15 for 720 hours
    assert price("--type=bid --storage 0") == pytest.approx(8 * 0.10)
    for form in ("-i", "-b", "--type=interruptible"):
        assert price(f"{form} --storage 0") == pytest.approx(8 * 0.10)
    assert price("-r --storage 0") < plain


def test_what_cannot_be_searched_is_said(renter: Official) -> None:
    said = renter.refused("search offers colour=blue")
    assert "400: colour is not a valid search key" in said
    assert "400: num_gpus is compared with a number." in renter.refused("search offers num_gpus=x")
    nothing = renter.run("search offers", "num_gpus=x y z")
    assert nothing.code == 1
    assert "Error" in nothing.out
    assert "400: 'cheap' is not a rental type" in renter.refused("search offers --type=cheap")
    assert "400: colour is not a valid search key" in renter.refused("search offers -o colour")


def test_an_offer_of_a_machine_that_is_not_verified_needs_asking_for(
    pretend: Market, renter: Official
) -> None:
    (two,) = {row["mach_id"] for row in renter.ok("search offers gpu_name=H100_SXM").table()}
    verify(pretend, two, "unverified")
    try:
        assert Counter(column(renter, "search offers", "Model")) == EIGHT
        for asked in ("search offers verified=any", "search offers -n"):
            assert Counter(column(renter, asked, "Model")) == ALL
        assert column(renter, "search offers verified=false", "status") == ["unverified"] * 3
    finally:
        verify(pretend, two, "verified")
    assert Counter(column(renter, "search offers", "Model")) == ALL


def verify(market: Market, machine: str, state: str) -> None:
    answer = httpx2.put(
        f"{market.url}/api/v0/admin/machines/{machine}/verification/",
        json={"verification": state},
        headers={"Authorization": f"Bearer {market.keys['operator']}"},
    )
    assert answer.status_code == 200, answer.text
    wait_for_catalog(market, machine, state)


def wait_for_catalog(market: Market, machine: str, state: str) -> None:
    """The catalog follows the tables a moment later."""
    query = {"machine_id": {"eq": machine}, "verification": {"eq": state}}
    for _ in range(200):
        if httpx2.post(f"{market.url}/api/v0/bundles/", json=query).json()["offers"]:
            return
    raise AssertionError("the catalog did not follow")


def sdk(market: Market) -> VastAI:
    return VastAI(api_key=market.keys["renter"], server_url=market.url)


SDK_SEARCHES: dict[str, Callable[[VastAI], object]] = {
    "text": lambda vast: vast.search_offers(query="gpu_name=RTX_4090"),
    "no defaults": lambda vast: vast.search_offers(query="gpu_name=RTX_4090", no_default=True),
    "an object": lambda vast: vast.search_offers(query={"gpu_name": {"eq": "RTX 4090"}}),
    "the newer way": lambda vast: vast.search_offers_new(query="gpu_name=RTX_4090"),
}


@pytest.mark.parametrize("form", SDK_SEARCHES)
def test_the_sdk_finds_the_same(pretend: Market, form: str) -> None:
    found = SDK_SEARCHES[form](sdk(pretend))
    assert isinstance(found, list)
    assert len(found) == 15
    assert {row["gpu_name"] for row in found} == {"RTX 4090"}
    assert all(row["datacenter"] is False for row in found)


def test_the_small_client_searches(pretend: Market) -> None:
    small = SyncClient(api_key=pretend.keys["renter"], vast_server=pretend.url)
    found = small.search(Query.search_defaults(), external=False, has_avx=1, limit=20)
    assert {offer.gpu_name for offer in found} == {"RTX 4090", "H100 SXM"}
    assert len(found) == 18
    some = small.search(Query({"num_gpus": {"gte": 2}}), type_="bid", target_reliability=0.99)
    assert {offer.num_gpus for offer in some} == {2, 4, 8}
    assert all(offer.is_bid for offer in some)


def test_every_column_is_there_raw(renter: Official) -> None:
    rows = renter.raw("search offers")
    assert len({json.dumps(sorted(row)) for row in rows}) == 1
