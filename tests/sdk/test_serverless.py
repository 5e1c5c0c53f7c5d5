"""Requests to endpoints: the steps by themselves, then against a real engine and real workers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mercato.sdk import AsyncMercato, Mercato, Progress, Stage
from mercato.sdk.asking import (
    Answered,
    Ask,
    Conversation,
    Heard,
    Pause,
    Seat,
)
from mercato.sdk.errors import (
    Failure,
    NotAuthenticated,
    NotFound,
    Refused,
    ServerFailed,
    TimedOut,
)
from mercato.sdk.serverless import AsyncEndpoint
from tests.engine.street import ACCOUNT_KEY, KEY, Street
from tests.sdk.answering import Answers

# --- The steps ------------------------------------------------------------------------------------

STATUSES = st.sampled_from([0, 200, 400, 401, 404, 408, 418, 422, 429, 500, 502, 503])
TICKET = {"url": "http://worker", "request_idx": 9}


class Played:
    """A conversation on a clock of its own, with answers as a test wants them."""

    def __init__(self, ask: Ask) -> None:
        self.now_s = 0.0
        self.routed: list[dict[str, object]] = []
        self.worked = 0
        self.told: list[Progress] = []
        talk = Conversation("http://engine", ask, self.told.append, lambda: self.now_s, lambda: 0.5)
        self._steps = talk.steps()

    def play(self, route: list[Heard], work: list[Heard], *, each_s: float = 0.1) -> Answered:
        """Answer the steps in order, the last answer for ever."""
        heard: Heard | None = None
        while True:
            try:
                step = self._steps.send(heard)
            except StopIteration as ended:
                answered: Answered = ended.value
                return answered
            heard = None
            if isinstance(step, Pause):
                assert step.seconds >= 0
                self.now_s += step.seconds
                continue
            self.now_s += each_s
            if step.to_worker:
                heard = work[min(self.worked, len(work) - 1)]
                self.worked += 1
            else:
                heard = route[min(len(self.routed), len(route) - 1)]
                self.routed.append(msgspec.json.decode(step.body))


def heard(status: int, body: object = None) -> Heard:
    return Heard(status=status, content=msgspec.json.encode(body or {}))


READY = heard(200, TICKET)


@given(
    routes=st.lists(STATUSES, max_size=6),
    works=st.lists(STATUSES, min_size=1, max_size=12),
    retries=st.integers(0, 4),
    each_s=st.floats(0.01, 20.0),
)
def test_every_request_ends_in_time_with_few_enough_tries(
    routes: list[int], works: list[int], retries: int, each_s: float
) -> None:
    played = Played(Ask("llm", "/x", {}, timeout_s=60.0, retries=retries))
    try:
        answered = played.play([*map(heard, routes), READY], [*map(heard, works)], each_s=each_s)
        assert answered.status == 200
        assert answered.tries == played.worked
    except Failure:
        pass
    assert played.worked <= retries + 1
    assert played.now_s <= 60.0 + 2 * each_s + 1.0


def test_a_request_that_waits_asks_again_with_its_number() -> None:
    waiting = heard(200, {"request_idx": 9, "status": "workers: 1 loading"})
    played = Played(Ask("llm", "/x", {"a": 1}))
    played.play([waiting, waiting, READY], [heard(503), heard(200)])
    assert [asked["request_idx"] for asked in played.routed] == [0, 9, 9, 9]
    assert [one.stage for one in played.told] == [
        *(Stage.ROUTING, Stage.WAITING, Stage.WAITING, Stage.WORKING),
        *(Stage.RETRYING, Stage.ROUTING, Stage.WORKING),
    ]
    assert played.told[1].text == "workers: 1 loading"
    assert played.now_s > 2.0, "the engine is not asked in a hot loop"


@given(works=st.lists(STATUSES, min_size=1, max_size=12), retries=st.integers(0, 4))
def test_a_request_of_a_session_goes_to_its_worker_alone_and_never_twice_to_work(
    works: list[int], retries: int
) -> None:
    seat = Seat("http://worker", "name", TICKET)
    played = Played(Ask("llm", "/x", {}, timeout_s=60.0, retries=retries, seat=seat))
    with contextlib.suppress(Failure):
        played.play([READY], [*map(heard, works)])
    assert not played.routed
    # Only what was not begun, for want of room, is asked again.
    assert all(status == 429 for status in works[: played.worked - 1])
    assert played.worked <= retries + 1


def test_a_session_that_has_ended_is_named_as_such() -> None:
    seat = Seat("http://worker", "name", TICKET)
    with pytest.raises(NotFound, match="session has ended"):
        Played(Ask("llm", "/x", {}, seat=seat)).play([READY], [heard(410)])
    lost = Heard(status=0, content=b"refused")
    with pytest.raises(ServerFailed, match="does not answer: refused"):
        Played(Ask("llm", "/x", {}, seat=seat)).play([READY], [lost])


def test_an_engine_that_is_being_replaced_is_asked_again() -> None:
    played = Played(Ask("llm", "/x", {}))
    lost = Heard(status=0, content=b"connection refused")
    assert played.play([lost, heard(503), READY], [heard(200, {"ok": 1})]).value == {"ok": 1}


def test_what_is_no_engine_is_named_as_such() -> None:
    with pytest.raises(ServerFailed, match="Mercato server"):
        Played(Ask("llm", "/x", {})).play([Heard(status=200, content=b"<html>")], [READY])


def test_a_worker_is_never_shown_the_key(server: Answers) -> None:
    server.answer(200, {"url": server.url, "request_idx": 5, "signature": "s"})
    server.answer(200, {"text": "hello"})
    with Mercato(server.url, "secret") as market:
        answered = market.endpoint("llm").request("/x", {"p": 1}, cost=7.0)
    route, work = server.seen
    assert route.headers["Authorization"] == "Bearer secret"
    assert (route.body["endpoint"], route.body["cost"]) == ("llm", 7.0)
    assert "secret" not in str(work.headers) + str(work.body) + work.path
    assert work.body["auth_data"]["signature"] == "s"
    assert work.body["payload"] == {"p": 1}
    assert (answered.value, answered.request_idx, answered.tries) == ({"text": "hello"}, 5, 1)


# --- A real engine and real workers ---------------------------------------------------------------


@pytest.fixture
async def street(tmp_path: Path) -> AsyncIterator[Street]:
    async with Street.up(tmp_path, "ours") as street:
        yield street


@pytest.mark.slow
async def test_both_clients_do_all_that_can_be_done(street: Street) -> None:
    async with AsyncMercato(street.url, KEY) as market:
        llm = market.endpoint("llm")
        answers = await asyncio.gather(*(llm.request("/generate", {"n": n}) for n in range(40)))
        assert [one.value["echo"]["n"] for one in answers] == [*range(40)]
        assert [one async for one in llm.stream("/stream", {"count": 7})] == [
            {"number": n} for n in range(7)
        ]
        await _refused(market)
        await _session(street, llm)
        # To stop reading is to cancel.
        pieces = llm.stream("/stream", {"count": 1_000, "dawdle_s": 0.05})
        assert await anext(pieces) == {"number": 0}
        await pieces.aclose()  # type: ignore[attr-defined] # it is a generator
        await street.until_nothing_is_here()
        # A worker that dies costs nobody anything.
        asked = [llm.request("/generate", {"n": n, "dawdle_s": 3.0}) for n in range(12)]
        going = asyncio.gather(*asked)
        while not (await street.rows())[1]["reqs_working"]:  # noqa: ASYNC110 - other processes
            await asyncio.sleep(0.05)
        await street.kill("worker1")
        answers = await going
        assert [one.value["echo"]["n"] for one in answers] == [*range(12)]
        assert max(one.tries for one in answers) > 1
    await asyncio.to_thread(_blocking, street.url)


async def _refused(market: AsyncMercato) -> None:
    llm = market.endpoint("llm")
    with pytest.raises(Refused) as refused:
        await llm.request("/generate", {"fail": 418})
    assert refused.value.status == 418
    with pytest.raises(ServerFailed) as failed:
        await llm.request("/generate", {"fail": 500}, retries=0)
    assert failed.value.status == 500
    with pytest.raises(NotFound):
        await llm.request("/nowhere", {})
    with pytest.raises(TimedOut, match="llm"):
        await llm.request("/generate", {"dawdle_s": 60}, timeout_s=0.5)
    with pytest.raises(Refused, match="other"):
        await market.endpoint("other").request("/generate", {})
    async with AsyncMercato(market.transport.base_url, "nobody") as stranger:
        with pytest.raises(NotAuthenticated):
            await stranger.endpoint("llm").request("/generate", {})


async def _session(street: Street, llm: AsyncEndpoint) -> None:
    async with await llm.session(cost=40, lifetime_s=30) as session:
        answers = [await session.request("/generate", {"n": n}) for n in range(5)]
        assert {one.url for one in answers} == {session.url}
        assert [piece async for piece in session.stream("/stream", {"count": 3})] == [
            {"number": n} for n in range(3)
        ]
        assert await session.is_open()
        async with asyncio.timeout(20):
            # All the while it is work of its cost.
            while 40.0 not in {row["cur_load"] for row in (await street.rows()).values()}:  # noqa: ASYNC110 - other processes
                await asyncio.sleep(0.05)
    assert not await session.is_open()
    assert not await session.close()
    with pytest.raises(NotFound, match="session has ended"):
        await session.request("/generate", {"n": 1})
    await street.until_nothing_is_here()


def _blocking(url: str) -> None:
    told: list[Progress] = []
    with Mercato(url, ACCOUNT_KEY) as market:
        llm = market.endpoint("llm")
        answered = llm.request("/generate", {"n": 1}, progress=told.append)
        assert answered.value["echo"] == {"n": 1}
        assert told[-1].stage is Stage.WORKING
        assert told[-1].url == answered.url
        assert list(llm.stream("/stream", {"count": 3})) == [{"number": n} for n in range(3)]
        with pytest.raises(Refused):
            next(llm.stream("/generate", {"fail": 418}))
        with llm.session(lifetime_s=30) as session:
            assert session.request("/generate", {"n": 2}).url == session.url
            assert len(list(session.stream("/stream", {"count": 3}))) == 3
            assert session.is_open()
        assert not session.is_open()


@pytest.mark.slow
@pytest.mark.client
async def test_sessions_with_the_official_worker_server(tmp_path: Path) -> None:
    async with (
        Street.up(tmp_path, "official", count=1) as street,
        AsyncMercato(street.url, KEY) as market,
    ):
        await _session(street, market.endpoint("llm"))


@pytest.mark.slow
async def test_a_session_ends_with_its_worker_and_its_time(street: Street) -> None:
    async with AsyncMercato(street.url, KEY) as market:
        llm = market.endpoint("llm")
        brief = await llm.session(lifetime_s=1)
        async with asyncio.timeout(20):
            while await brief.is_open():  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.1)
        async with await llm.session() as session:
            await street.kill(f"worker{street.worker_at(session.url)}")
            with pytest.raises(ServerFailed, match="does not answer"):
                await session.request("/generate", {"n": 1})
            assert not await session.is_open()
