"""Charges and invoices with the official client: its tables, trees and pages."""

from collections.abc import Iterator
from typing import Any

import pytest

from mercato.control.clock import SystemClock
from tests.e2e.journey import eventually
from tests.e2e.official import Official

pytestmark = [pytest.mark.client, pytest.mark.slow]

ITEM = {"start", "end", "type", "source", "description", "amount", "metadata", "items"}


@pytest.fixture(scope="module")
def rented(renter: Official) -> Iterator[list[int]]:
    """Three instances that have cost something."""
    offers = [row["ID"] for row in renter.ok("search offers num_gpus=1 --limit 3").table()]
    renter.ok(f"create instances {' '.join(offers)} --image debian --label billed")
    ids = [row["id"] for row in renter.raw("show instances --label billed")]
    assert eventually(
        lambda: len(renter.raw("show instances --label billed --status running")) == 3
    )
    yield ids
    renter.ok(f"destroy instances {' '.join(map(str, ids))} -y")


def charges(renter: Official, options: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = renter.raw(f"show invoices-v1 --charges {options}")["results"]
    return found


def of(rows: list[dict[str, Any]], ids: list[int]) -> list[dict[str, Any]]:
    return [row for row in rows if row["source"] in {f"instance-{one}" for one in ids}]


def test_charges_have_every_part(renter: Official, rented: list[int]) -> None:
    rows = eventually(
        lambda: [row for row in of(charges(renter, "-l 100"), rented) if len(row["items"]) >= 2]
    )
    for row in rows:
        assert set(row) >= ITEM
        assert (row["type"], row["metadata"]["label"]) == ("instance", "billed")
        assert row["end"] >= row["start"] > 0
        assert {part["type"] for part in row["items"]} <= {"gpu", "disk", "bwu", "bwd"}
        for part in row["items"]:
            assert set(part) >= ITEM
            assert part["source"] is None
        assert row["amount"] == pytest.approx(sum(part["amount"] for part in row["items"]))


def test_charges_are_printed(renter: Official, rented: list[int]) -> None:
    table = renter.ok("show invoices-v1 -c -l 100 --no-color --latest-first").out
    tree = renter.ok("show invoices-v1 -c -l 100 -f tree -v --no-color").out
    for one in rented:
        assert f"Instance │   {one}" in table or f" {one} " in table
        assert f"Instance {one} ->" in tree
    assert "GPU: " in tree
    assert "Storage: " in tree
    assert "No results found" in renter.ok("show invoices-v1 -c -ct v --no-color").out
    shown = renter.ok("show invoices-v1 -c -ct i -l 100 --no-color").out
    assert f"Showing {len(charges(renter, '-l 100'))} of" in shown
    old = renter.ok("show invoices-v1 -c -s 2020-01-01 -e 2020-02-01 --no-color").out
    assert "No results found" in old


def test_pages_of_charges(renter: Official, rented: list[int]) -> None:
    until = SystemClock().now_ms() // 1_000
    window = f"-s {until - 86_400} -e {until}"
    first = renter.raw(f"show invoices-v1 -c -l 1 {window}")
    assert (first["count"], len(first["results"])) == (1, 1)
    assert first["total"] >= len(rented) - 1
    second = renter.raw(f"show invoices-v1 -c -l 1 -t {first['next_token']} {window}")
    assert second["results"][0]["id"] != first["results"][0]["id"]
    printed = renter.ok(f"show invoices-v1 -c -l 1 --no-color {window}", stdin="y\nn\n").out
    assert "Showing 1 of" in printed
    assert "Showing 2 of" in printed


def test_invoices_are_stable_and_printed(renter: Official) -> None:
    rows = renter.raw("show invoices-v1 -i")["results"]
    credit = rows[0]
    assert (credit["type"], credit["amount"]) == ("credit", -100.0)
    assert credit["metadata"]["invoice_id"] == 1
    printed = renter.ok("show invoices-v1 -i --no-color").out
    assert "Credit" in printed
    assert "$100.00" in printed
    assert "-$100.00" not in printed
    assert "No results found" in renter.ok("show invoices-v1 -i -it stripe --no-color").out
    (found,) = renter.raw("search invoices", "id=1")["invoices"]
    assert (found["amount_cents"], found["is_credit"]) == (10_000, True)
    assert renter.raw("search invoices", "amount_cents>10000000")["invoices"] == []
    assert len(renter.raw("search invoices", "when>01/01/2020 is_credit=true")["invoices"]) == 1


def test_the_older_invoices(renter: Official, rented: list[int]) -> None:
    printed = renter.ok("show invoices").out
    assert "Received_from_funding" in printed
    assert "Total: $" in printed
    assert "Current:  {'charges': " in printed
    only = renter.raw("show invoices --only_charges --instance_label billed")
    assert {row["instance_id"] for row in only} == set(rented)
    assert {row["type"] for row in only} == {"charge"}
    assert {row["type"] for row in renter.raw("show invoices -p")} == {"payment"}


def test_the_balance_falls_as_time_passes(renter: Official, rented: list[int]) -> None:
    before = renter.raw("show user")
    assert eventually(lambda: renter.raw("show user")["credit"] < before["credit"])
    assert before["balance"] == before["credit"]
    assert renter.raw(f"show deposit {rented[0]}")["refundable_deposit"] == 0.0
    assert "404: " in renter.refused("show deposit 999999")
