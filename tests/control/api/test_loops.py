"""How the market's loops fare, as its operator sees it."""

from typing import Any

from mercato.control.db import Tx
from tests.control.api.serving import Served
from tests.control.api.test_quirks import eventually


def prices(server: Served) -> dict[str, Any]:
    """The loop of prices, once it has run anew."""
    server.plane.db.run_now(lambda tx: tx.poke("loop:prices"))
    rows = server.call("GET", "/api/v0/admin/loops/", "operator").json()["loops"]
    found: dict[str, Any] = next(row for row in rows if row["name"] == "prices")
    return found


def rename(tx: Tx, *, away: bool) -> None:
    """Take away what the loop writes to, or bring it back."""
    if away:
        tx.run("alter table price_hours rename to taken_away")
    else:
        tx.run("alter table taken_away rename to price_hours")


def test_a_loop_that_fails_is_shown_until_it_works_again(server: Served) -> None:
    db = server.plane.db
    assert prices(server)["failure"] is None
    db.run_now(rename, away=True)
    failed = eventually(lambda: (row := prices(server))["failure"] and row)
    assert "price_hours" in failed["failure"]
    assert 0 <= failed["age_s"] < 60
    assert prices(server)["runs"] >= failed["runs"]
    db.run_now(rename, away=False)
    assert eventually(lambda: prices(server)["failure"] is None)
