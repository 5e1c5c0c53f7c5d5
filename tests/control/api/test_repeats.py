"""Idempotency-Key: a change that is asked for again is made once, whatever was lost in between."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any, Concatenate, ParamSpec, TypeVar

import httpx2
import psycopg
import pytest

from mercato.control.api import repeats
from mercato.control.db import Tx
from mercato.control.store import replies, ssh_keys
from mercato.market import errors
from mercato.market.ids import AccountId
from tests.control.api.serving import Served
from tests.control.api.test_quirks import eventually
from tests.control.fragile import Fragile

P = ParamSpec("P")
T = TypeVar("T")

RENTER = AccountId(3)
PATH = "/api/v0/auth/apikeys/"
KEY = {"Idempotency-Key": "once"}


class Cut(Fragile):
    """A door of which requests lose one answer: that of the commit after `commits_left` more."""

    commits_left: int | None = None

    def run_now(
        self, flow: Callable[Concatenate[Tx, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run `flow` as ever, unless its answer is lost."""
        if self.commits_left is not None:
            self.answer_lost = self.commits_left == 0
            self.commits_left = None if self.answer_lost else self.commits_left - 1
        return super().run_now(flow, *args, **kwargs)

    def hold(self) -> None:
        """Let nothing go wrong from now on."""
        self.commits_left = None
        super().hold()


@pytest.fixture
def cut(server: Served, database_url: str) -> Iterator[Cut]:
    """The door of the server's requests, and not of its loops."""
    door = Cut(database_url, on_poke=lambda _: None)
    door.open()
    server.plane.services.db = door
    yield door
    door.close()


def keys(server: Served, name: str | None = None) -> int:
    """How many API keys the renter has, or how many of a name."""
    found: list[Any] = server.call("GET", PATH, "renter").json()["apikeys"]
    return sum(name in {None, one["name"]} for one in found)


def add_key(server: Served, name: str) -> httpx2.Response:
    """Make one of a name, with a key of that name."""
    headers = {"Idempotency-Key": name}
    return server.call("POST", PATH, "renter", {"name": name}, headers=headers)


def check_made_once(server: Served, name: str) -> None:
    """Asked again after a cut it is made now, or was and is not made again."""
    again = add_key(server, name)
    told = (again.status_code, again.json().get("error"))
    made = keys(server, name)
    assert (told, made) in {
        ((200, None), 1),
        ((409, "outcome_unknown"), 1),
        ((409, "conflict"), 0),  # whether the key was taken is what got lost
    }


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
            server.plane.db.run_now(replies.drop, RENTER, "once", 0 - repeats.AT_WORK_MS)


def test_cut_at_any_statement_it_is_made_once(server: Served, cut: Cut) -> None:
    for statement in count():
        cut.statements_left = statement
        whole = add_key(server, f"cut-{statement}").status_code == 200
        cut.hold()
        check_made_once(server, f"cut-{statement}")
        if whole:
            break
    assert statement > 10


def test_when_nobody_knows_whether_it_was_committed_it_is_made_once(
    server: Served, cut: Cut
) -> None:
    answers = []
    for commit in count():
        cut.commits_left = commit
        whole = add_key(server, f"lost-{commit}").status_code == 200
        cut.hold()
        check_made_once(server, f"lost-{commit}")
        if whole:
            break
        answers.append(add_key(server, f"lost-{commit}").json().get("error"))
    assert "outcome_unknown" in answers


def test_a_commit_under_way_is_waited_for(server: Served, database_url: str) -> None:
    db = server.plane.db
    db.run_now(replies.begin, RENTER, "slow", b"", 1)
    with psycopg.connect(database_url) as conn, ThreadPoolExecutor(1) as pool:
        conn.execute("update replies set took_effect = true where key = 'slow'")
        dropped = pool.submit(db.run_now, replies.drop, RENTER, "slow", 1)
        waiting = "select 1 from pg_stat_activity where wait_event_type = 'Lock' and datname = %s"
        eventually(lambda: db.run_now(lambda tx: tx.all(waiting, conn.info.dbname)))
        conn.commit()
        assert not dropped.result()


def test_a_request_that_was_given_up_changes_nothing_any_more(server: Served) -> None:
    first = repeats.Marking(server.plane.db, RENTER, "late", 1)
    server.plane.db.run_now(replies.begin, RENTER, "late", b"", 1)
    server.plane.db.run_now(replies.begin, RENTER, "late", b"", 1 + repeats.AT_WORK_MS)
    with pytest.raises(errors.Conflict):
        first.run_now(ssh_keys.create, RENTER, "ssh-ed25519 AAAA", 2)
    assert server.plane.db.run_now(ssh_keys.find, RENTER, "ssh-ed25519 AAAA") is None
