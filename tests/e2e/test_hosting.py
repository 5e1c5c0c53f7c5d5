"""A host with the official client: machines, what is asked for them, what they earn."""

from typing import Any

import pytest

from mercato.control.clock import SystemClock
from tests.e2e.journey import eventually
from tests.e2e.official import Official

pytestmark = [pytest.mark.client, pytest.mark.slow]

DAY_S = 86_400


@pytest.fixture
def two(host: Official) -> int:
    """The machine with two GPUs, listed at the end as it was at the beginning."""
    machine: int = next(
        row["id"] for row in host.raw("show machines")["machines"] if row["num_gpus"] == 2
    )
    host.ok(LISTED.format(machine))
    return machine


LISTED = "--raw list machine {} -g 0.25 -s 0.15 -u 0.01 -d 0.01 -b 0.10"


def offers(renter: Official, machine: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = renter.raw(
        f"search offers -n --storage 0 -o num_gpus- machine_id={machine}"
    )
    return found


def offered(renter: Official, machine: int, **wanted: Any) -> list[dict[str, Any]]:
    """The machine's offers once the first has these values."""

    def look() -> list[dict[str, Any]] | None:
        rows = offers(renter, machine)
        right = rows and all(rows[0][name] == value for name, value in wanted.items())
        return rows if right else None

    return eventually(look)


def test_machines_are_shown(host: Official, renter: Official, two: int) -> None:
    table = host.ok("show machines").table()
    assert {(row["gpu_name"], row["#gpus"]) for row in table} == {
        ("RTX_4090", "8"), ("H100_SXM", "2"),
    }  # fmt: skip
    (row,) = host.ok(f"show machine {two}").table()
    assert (row["gpuD_$/h"], row["gpuI$/h"], row["rdisc"]) == ("0.25", "0.10", "0.40")
    assert (row["netu_$/TB"], row["veri"], row["reports"]) == ("10.24", "verified", "0")
    assert row["occup"] == "x_x"
    assert host.ok("show machines -q").out.split() == sorted((row["ID"] for row in table), key=int)
    (raw,) = host.raw(f"show machine {two}")
    assert (raw["machine_id"], raw["listed"], raw["min_chunk"]) == (two, True, 1)
    assert "404: There is no machine" in renter.refused(f"show machine {two}")
    assert renter.raw("show machines") == {"machines": []}


def test_a_listing_with_every_price(host: Official, renter: Official, two: int) -> None:
    until = SystemClock().now_ms() // 1_000 + 10 * DAY_S
    said = host.run(
        f"list machine {two} -g 0.5 -s 0.2 -u 0.02 -d 0.03 -b 0.3 -r 0.25 -m 2 -e {until}"
    )
    # The client prints what it lists and then ends with the list as its exit status.
    assert f"offers created/updated for machine {two}" in said.out
    (row,) = offered(renter, two, dph_base=1.0)
    assert (row["num_gpus"], row["min_bid"], row["storage_cost"]) == (2, 0.6, 0.2)
    assert (row["inet_up_cost"], row["inet_down_cost"]) == (0.02, 0.03)
    assert (row["credit_discount_max"], row["end_date"]) == (0.25, until)
    assert row["duration"] == pytest.approx(10 * DAY_S, abs=60)
    host.ok(f"set min-bid {two} --price 0.4")
    offered(renter, two, min_bid=0.8)
    host.ok(f"--raw list machine {two} -g 0.6 -l '3 months'")
    rows = offered(renter, two, dph_base=1.2)
    assert rows[0]["duration"] == pytest.approx(90 * DAY_S, abs=60)
    assert [row["num_gpus"] for row in rows] == [2, 1, 1]
    # What is not said stays as it is, but for the smallest slice.
    assert (rows[0]["min_bid"], rows[0]["storage_cost"]) == (0.8, 0.2)
    host.ok(f"--raw list machine {two} -s 0.3 -m 2")
    (row,) = offered(renter, two, storage_cost=0.3)
    assert (row["dph_base"], row["end_date"]) == (1.2, rows[0]["end_date"])


def test_unlisted_it_is_offered_to_nobody(host: Official, renter: Official, two: int) -> None:
    host.ok(f"unlist machine {two}")
    assert eventually(lambda: offers(renter, two) == [])
    assert host.raw(f"show machine {two}")[0]["listed"] is False
    assert "price_gpu" in host.refused(f"list machine {two}")
    host.ok(LISTED.format(two))
    offered(renter, two, dph_base=0.5)


def test_several_are_listed_at_once(host: Official, two: int) -> None:
    ids = [row["id"] for row in host.raw("show machines")["machines"]]
    host.run(f"list machines {' '.join(map(str, ids))} -g 0.25 -s 0.15 -u 0.01 -d 0.01 -b 0.10")
    costs = {row["listed_gpu_cost"] for row in host.raw("show machines")["machines"]}
    assert costs == {0.25}
    assert two in ids


def test_what_a_host_may_not(host: Official, renter: Official, two: int) -> None:
    for line in (f"list machine {two} -g 1", f"unlist machine {two}", f"cleanup machine {two}"):
        assert "404: " in renter.refused(line)
    assert "400: price_gpu must be from 0" in host.refused(f"list machine {two} -g -1")
    assert "400: " in host.refused(f"list machine {two} -g 1 -l someday")
    assert "400: " in host.refused(f"list machine {two} -g 1 -m 3")
    assert "404: " in host.refused("set min-bid 999 --price 1")
    assert "404: " in host.refused("delete machine 999")


def test_what_it_earns(host: Official, renter: Official, two: int) -> None:
    (offer,) = [row["id"] for row in offers(renter, two) if row["num_gpus"] == 2]
    made = renter.raw(f"create instance {offer} --image debian --disk 10")["new_contract"]
    assert eventually(lambda: renter.raw(f"show instance {made}")["actual_status"] == "running")
    assert eventually(lambda: host.raw(f"show machine {two}")[0]["gpu_occupancy"] == "D D")
    (row,) = host.raw(f"show machine {two}")
    assert (row["current_rentals_running"], row["earn_hour"]) == (2, pytest.approx(0.502, abs=0.01))
    assert "409: " in host.refused(f"delete machine {two}")
    renter.ok(f"destroy instance {made} -y")
    earned = eventually(lambda: host.raw("show earnings")["per_machine"])
    assert two in {one["machine_id"] for one in earned}
    assert host.raw("show earnings")["summary"]["total_gpu"] > 0
    assert host.raw(f"show earnings -m {two}")["per_day"]
    assert '"num_deleted"' in host.ok(f"cleanup machine {two}").out.replace("'", '"')
    assert "reports: []" in host.ok(f"reports {two}").out


def test_its_own_job_runs_where_nobody_rents(host: Official, renter: Official, two: int) -> None:
    host.ok(f"set defjob {two} --price_gpu 0.12 --image debian --args sleep 1000")
    (row,) = host.raw(f"show machine {two}")
    assert (row["bid_image"], row["bid_image_args"]) == ("debian", ["sleep", "1000"])
    assert row["min_bid_price"] == 0.12

    def jobs(status: str) -> bool:
        rows = host.raw("show instances")
        mine = [row for row in rows if row["machine_id"] == two]
        right = all(one["rental_type"] == "background" and one["dph_total"] == 0 for one in mine)
        return right and [one["actual_status"] for one in mine] == [status] * 2

    assert eventually(lambda: jobs("running"))
    (row,) = host.raw(f"show machine {two}")
    assert (row["gpu_occupancy"], row["current_rentals_resident"]) == ("x x", 0)
    offer = offered(renter, two, min_bid=0.24)[0]["id"]
    made = renter.raw(f"create instance {offer} --image debian --disk 10")["new_contract"]
    assert eventually(lambda: renter.raw(f"show instance {made}")["actual_status"] == "running")
    assert not jobs("running")
    renter.ok(f"destroy instance {made} -y")
    assert eventually(lambda: jobs("running"))
    host.ok(f"remove defjob {two}")
    assert "no background job" in host.refused(f"remove defjob {two}")
    assert "404: " in renter.refused(f"set defjob {two} --image debian")
