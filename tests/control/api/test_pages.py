"""Lists by pages: whoever follows them sees every row, whatever goes in the meantime."""

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vastai import VastAI

from mercato.control.api import selecting
from tests.control.api.scripted import listed
from tests.control.api.serving import Served
from tests.control.api.test_journey import eventually

COLUMNS = frozenset({"id", "start", "label", "busy"})
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.integers(1, 50),
            "start": st.none() | st.floats(0, 3),
            "label": st.none() | st.sampled_from(["", "a", "b", "é" * 300, "é" * 300 + "a"]),
            "busy": st.booleans(),
        }
    ),
    unique_by=lambda row: row["id"],
    max_size=12,
)
ORDER = st.lists(
    st.tuples(st.sampled_from(sorted(COLUMNS)), st.sampled_from(["asc", "desc"])),
    max_size=3,
    unique_by=lambda one: one[0],
)


@given(ROWS, ORDER, st.integers(1, 3), st.data())
def test_pages_show_each_row_once_though_rows_go(
    rows: list[dict[str, Any]], asked: list[tuple[str, str]], limit: int, data: st.DataObject
) -> None:
    order = selecting.order_of([list(one) for one in asked], COLUMNS)
    there, seen, gone = list(rows), [], set()
    token = None
    while True:
        rest = selecting.after(selecting.ordered(there, order), token, order)
        page = rest[:limit]
        seen += [row["id"] for row in page]
        if not page:
            break
        token = selecting.token_after(page[-1], order)
        if there:
            gone |= data.draw(st.sets(st.sampled_from([row["id"] for row in there])))
        there = [row for row in there if row["id"] not in gone]
    whole = [row["id"] for row in selecting.ordered(rows, order)]
    assert [row for row in whole if row in set(seen)] == seen
    assert len(seen) == len(set(seen))
    assert set(whole) - set(seen) <= gone


@given(st.binary() | st.text())
def test_a_token_of_somebody_elses_making_is_refused(told: bytes | str) -> None:
    order = selecting.order_of([["start", "desc"]], COLUMNS)
    token = told if isinstance(told, str) else base64.urlsafe_b64encode(told).decode()
    if token:
        with pytest.raises(selecting.InvalidToken):
            selecting.after([{"id": 1, "start": 1.0}], token, order)


@pytest.mark.client
def test_who_destroys_what_each_page_shows_destroys_all(server: Served) -> None:
    with listed(server):
        vast = VastAI(api_key=server.keys["renter"], server_url=server.url)
        offers = eventually(lambda: vast.search_offers(query="num_gpus=1"))
        rented = {
            vast.create_instance(id=offer["id"], image="debian", disk=1)["new_contract"]
            for offer in offers[:4]
        }
        asked: dict[str, Any] = {"order_by": [{"col": "start_date", "dir": "desc"}], "limit": 2}
        seen: set[int] = set()
        while True:
            page = vast.show_instances_v1(asked)
            for one in page["instances"]:
                seen.add(one["id"])
                vast.destroy_instance(id=one["id"])
            if not page["next_token"]:
                break
            asked["after_token"] = page["next_token"]
        assert seen == rented
        eventually(lambda: vast.show_instances() == [])
