"""Idempotency-Key: a change that is asked for again is made once, whatever was lost in between."""

from typing import Any

import pytest

from mercato.control.api import repeats
from mercato.control.db import Tx
from mercato.control.store import replies
from mercato.market.ids import AccountId
from tests.control.api.serving import Served

RENTER = AccountId(3)
PATH = "/api/v0/auth/apikeys/"
KEY = {"Idempotency-Key": "once"}


def keys(server: Served) -> int:
    """How many API keys the renter has."""
    found: list[Any] = server.call("GET", PATH, "renter").json()["apikeys"]
    return len(found)


def lose_the_answer(tx: Tx) -> None:
    """As if the server had died before it wrote the answer, long ago."""
    tx.run("update replies set status = null, body = null, at_ms = at_ms - %s", repeats.AT_WORK_MS)


def test_the_same_key_answers_the_same_and_another_request_is_refused(server: Served) -> None:
    first, again = (
        server.call("POST", PATH, "renter", {"name": "a"}, headers=KEY) for _ in range(2)
    )
    assert first.status_code == 200, first.text
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert keys(server) == 2
    other = server.call("POST", PATH, "renter", {"name": "b"}, headers=KEY)
    assert (other.status_code, other.json()["error"]) == (422, "idempotency_key_reused")
    assert server.call("POST", PATH, "other", {"name": "b"}, headers=KEY).status_code == 200


def test_a_change_whose_answer_was_lost_is_not_made_again(server: Served) -> None:
    server.call("POST", PATH, "renter", {"name": "a"}, headers=KEY)
    server.plane.db.run_now(lose_the_answer)
    again = server.call("POST", PATH, "renter", {"name": "a"}, headers=KEY)
    assert (again.status_code, again.json()["error"]) == (409, "outcome_unknown")
    assert keys(server) == 2


@pytest.mark.parametrize("lost", [True, False])
def test_what_came_to_nothing_may_be_tried_again(server: Served, *, lost: bool) -> None:
    path = "/api/v0/instances/999/"
    for _ in range(2):
        answer = server.call("PUT", path, "renter", {"state": "stopped"}, headers=KEY)
        assert answer.json()["error"] == "no_such_instance"
        if lost:
            server.plane.db.run_now(replies.begin, RENTER, "once", b"", 0)
            server.plane.db.run_now(lose_the_answer)
            server.plane.db.run_now(replies.drop, RENTER, "once")
