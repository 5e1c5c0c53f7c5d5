"""Both clients ask, repeat, and tell what went wrong, in the same way."""

import socket
from collections.abc import Iterator

import pytest

from mercato.sdk import AsyncMercato, Mercato
from mercato.sdk.errors import (
    Busy,
    NotAuthenticated,
    NotFound,
    Refused,
    ServerFailed,
    Unreachable,
)
from tests.sdk.answering import Answers
from tests.sdk.speaking import Line, speaking

USER = {"id": 7, "email": "ann@example.com", "credit": 12.5, "something_new": 1}


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def market(server: Answers, waits: list[float]) -> Iterator[Mercato]:
    with Mercato(server.url, "secret", luck=lambda: 0.5, pause=waits.append) as client:
        yield client


def test_an_answer_is_typed_and_the_key_travels(server: Answers, market: Mercato) -> None:
    server.answer(200, USER)
    assert market.user().credit == 12.5
    assert server.seen[0].headers["Authorization"] == "Bearer secret"
    assert server.seen[0].path == "/api/v0/users/current"


async def test_the_awaited_client_does_the_same(server: Answers) -> None:
    server.answer(200, USER)
    async with AsyncMercato(server.url, "secret") as client:
        assert (await client.user()).email == "ann@example.com"


def test_a_search_sends_the_parsed_query(server: Answers, market: Mercato) -> None:
    server.answer(200, {"offers": [{"id": 512, "num_gpus": 2, "gpu_name": "RTX 4090"}]})
    assert market.search("gpu_name=RTX_4090", order="dph", limit=3)[0].id == 512
    body = server.seen[0].body
    assert body["gpu_name"] == {"eq": "RTX 4090"}
    assert body["verified"] == {"eq": True}
    assert body["order"] == [["dph_total", "asc"]]
    assert body["limit"] == 3


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_what_may_differ_next_time_is_asked_again(
    server: Answers, market: Mercato, waits: list[float], status: int
) -> None:
    server.answer(status, {"msg": "later"})
    server.answer(200, USER)
    assert market.user().id == 7
    assert len(server.seen) == 2
    assert waits == [pytest.approx(0.15)]


def test_a_rental_is_repeated_under_its_name_so_that_it_happens_once(
    server: Answers, market: Mercato
) -> None:
    server.answer(503, {"msg": "later"})
    server.answer(200, {"success": True, "new_contract": 9})
    assert market.rent(512, image="debian:12").new_contract == 9
    names = {each.headers["Idempotency-Key"] for each in server.seen}
    assert len(names) == 1
    assert server.seen[0].body["image"] == "debian:12"
    assert "env" not in server.seen[0].body


def test_a_server_that_asks_for_patience_gets_it(
    server: Answers, market: Mercato, waits: list[float]
) -> None:
    server.answer(429, {"msg": "slow down"}, Retry_After="3")
    server.answer(200, USER)
    market.user()
    assert waits == [3.0]


def test_a_server_that_asks_for_too_much_is_told_on(server: Answers, market: Mercato) -> None:
    server.answer(429, {"msg": "slow down", "error": "rate_limit_exceeded"}, Retry_After="600")
    with pytest.raises(Busy) as failed:
        market.user()
    assert failed.value.code == "rate_limit_exceeded"
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Refused),
        (401, NotAuthenticated),
        (404, NotFound),
        (410, NotFound),
        (500, ServerFailed),
    ],
)
def test_a_refusal_carries_its_code_and_words(
    server: Answers, market: Mercato, status: int, kind: type[Exception]
) -> None:
    server.answer(status, {"success": False, "error": "why", "msg": "For this reason."})
    with pytest.raises(kind) as failed:
        market.user()
    assert str(failed.value) == "For this reason."
    assert failed.value.code == "why"  # type: ignore[attr-defined]
    assert len(server.seen) == 1


def test_words_that_begin_with_their_code_are_told_without_it(
    server: Answers, market: Mercato
) -> None:
    server.answer(404, {"error": "no_such_ask", "msg": "no_such_ask: Offer 1 is gone."})
    with pytest.raises(NotFound, match=r"^Offer 1 is gone\.$"):
        market.user()


def test_a_polite_no_is_a_no(server: Answers, market: Mercato) -> None:
    server.answer(200, {"success": False, "msg": "It is gone."})
    with pytest.raises(Refused, match="It is gone"):
        market.stop(3)


def test_an_answer_from_something_else_is_named_as_such(server: Answers, market: Mercato) -> None:
    server.answer(200, "<html>hello</html>")
    with pytest.raises(ServerFailed, match="not JSON"):
        market.user()
    server.answer(200, {"unrelated": 1})
    with pytest.raises(ServerFailed, match="another form"):
        market.user()


def test_no_server_is_said_in_a_line(waits: list[float]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (
        Mercato(f"http://127.0.0.1:{port}", pause=waits.append) as client,
        pytest.raises(Unreachable, match="cannot reach"),
    ):
        client.user()
    assert len(waits) == 4
    with Mercato("nonsense") as client, pytest.raises(Unreachable):
        client.user()


def test_workers_are_not_made_anew_twice(server: Answers, market: Mercato) -> None:
    server.answer(502, {"msg": "its answer was lost"})
    server.answer(200, {"workers_to_update": 3})
    with pytest.raises(ServerFailed):
        market.renew_workers(4)
    assert len(server.seen) == 1
    server.seen.clear()
    server.plan[0] = (503, {"msg": "it is being replaced"}, {})
    assert market.renew_workers(4).workers_to_update == 3, "it had not begun"
    server.seen.clear()
    server.plan[0] = (502, {"msg": "its answer was lost"}, {})
    assert market.renew_workers(4, cancel=True).workers_to_update == 3, "once is as good as twice"


async def test_a_renewal_whose_answer_is_lost_is_said_to_be_so(waits: list[float]) -> None:
    asked: list[int] = []

    def hangs_up(_line: Line) -> None:
        asked.append(1)

    with speaking(hangs_up) as url:
        with (
            Mercato(url, pause=waits.append) as client,
            pytest.raises(Unreachable, match="may have been done"),
        ):
            client.renew_workers(4)
        async with AsyncMercato(url) as client_too:
            with pytest.raises(Unreachable, match="may have been done"):
                await client_too.renew_workers(4)
    assert len(asked) == 2
    assert not waits
    with Mercato(url, pause=waits.append) as client, pytest.raises(Unreachable) as failed:
        client.renew_workers(4)
    assert "may have been done" not in failed.value.message
    assert len(waits) == 4, "what never arrived is tried again"


def test_pages_are_followed_to_the_end(server: Answers, market: Mercato) -> None:
    server.answer(200, {"instances": [{"id": 1}], "next_token": "more"})
    server.answer(200, {"instances": [{"id": 2}], "next_token": None})
    assert [each.id for each in market.instances()] == [1, 2]
    assert "after_token=more" in server.seen[1].path


def test_logs_are_read_from_where_the_server_says(server: Answers, market: Mercato) -> None:
    server.answer(200, {"success": True, "result_url": f"{server.url}/r/token"})
    server.answer(404, {"msg": "not yet"})
    server.answer(200, "hello\n")
    assert market.logs(3, tail=10) == "hello\n"
    assert [each.path for each in server.seen] == [
        "/api/v0/instances/request_logs/3/",
        "/r/token",
        "/r/token",
    ]
    assert server.seen[0].body == {"tail": "10"}
