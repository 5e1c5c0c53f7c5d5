"""Sessions at a worker, as section 4.3 of the contract has them."""

import asyncio
from typing import Any

import msgspec
import pytest

from mercato.http.call import Call
from mercato.http.client import Origin, Pool
from mercato.pyworker.model import Model
from mercato.pyworker.worker import Route, Worker
from mercato.wire.worker import AuthData
from tests.pyworker.surroundings import Running, model_server, running, until


async def slowly(payload: Any, model: Model) -> Any:
    del model
    if payload == "wait":
        await asyncio.Event().wait()
    return payload


ROUTES = (Route(path="/s", answer=slowly, parallel=True),)


async def opened(
    one: Running, *, cost: float = 40.0, **payload: Any
) -> tuple[AuthData, dict[str, Any]]:
    auth = one.engine.auth(one.place.url, cost=cost)
    answer = await one.ask("/session/create", payload, auth=auth)
    assert answer.status == 201, answer.body
    return auth, msgspec.json.decode(answer.body)


async def call(one: Running, verb: str, name: str, auth: AuthData | None) -> tuple[int, Any]:
    answer = await one.post(f"/session/{verb}", {"session_id": name, "session_auth": auth})
    return answer.status, msgspec.json.decode(answer.body)


async def test_31_a_session_is_a_working_request_of_its_cost_until_it_ends() -> None:
    async with running(ROUTES) as one:
        engine = one.engine
        auth, session = await opened(one)
        name = session["session_id"]
        assert len(name) == 13
        assert name.isalnum()
        await engine.until(lambda: engine.last.cur_load == 40.0)
        assert engine.last.working_request_idxs == [auth.request_idx]
        for number in range(5):
            answer = await one.ask("/s", number, auth=auth, session=name)
            assert (answer.status, answer.body) == (200, str(number).encode())
        status, shown = await call(one, "get", name, auth)
        assert status == 200
        assert shown["expiration"] > session["expiration"]
        assert await call(one, "health", name, auth) == (200, {"ok": True})
        ended = {"ended": True, "removed_session": name}
        assert await call(one, "end", name, auth) == (200, ended)
        assert (await one.ask("/s", 1, auth=auth, session=name)).status == 410
        assert await call(one, "health", name, auth) == (200, {"ok": False})
        assert (await call(one, "end", name, auth))[0] == 400
        await engine.until(lambda: engine.last.cur_load == 0)
        await engine.until(lambda: bool(engine.finished))
        assert [told.request_idx for told in engine.finished] == [auth.request_idx]


async def test_a_session_belongs_to_whoever_opened_it() -> None:
    async with running(ROUTES) as one:
        auth, session = await opened(one)
        name = session["session_id"]
        stranger = one.engine.auth(one.place.url)
        for verb in ("get", "health", "end"):
            assert (await call(one, verb, name, stranger))[0] == 401
            assert (await call(one, verb, name, None))[0] == 401
        assert (await one.ask("/s", 1, auth=stranger, session=name)).status == 401
        assert (await one.ask("/s", 1, auth=auth, session=name)).status == 200
        assert (await one.ask("/s", 1, auth=auth)).status == 401  # its ticket is used up
        assert (await call(one, "get", "", auth))[0] == 422


async def test_a_session_needs_a_good_ticket_and_a_sensible_lifetime() -> None:
    async with running(ROUTES) as one:
        forged = msgspec.structs.replace(one.engine.auth(one.place.url), cost=0.1)
        assert (await one.ask("/session/create", {}, auth=forged)).status == 401
        for lifetime in (0, -1, 1e9):
            assert (await one.ask("/session/create", {"lifetime": lifetime})).status == 422


async def test_no_more_sessions_than_the_worker_takes() -> None:
    async with running(Worker(routes=ROUTES, sessions_max=2)) as one:
        auth, session = await opened(one)
        await opened(one)
        assert (await one.ask("/session/create", {})).status == 429
        await call(one, "end", session["session_id"], auth)
        await opened(one)


async def test_a_session_past_its_time_ends_by_itself_and_tells_whom_it_should() -> None:
    told: asyncio.Queue[Any] = asyncio.Queue()

    def hear(got: Call) -> None:
        told.put_nowait((got.path, msgspec.json.decode(got.body)))
        got.answer(200)

    async with model_server(hear) as site, running(ROUTES) as one:
        _, session = await opened(
            one,
            lifetime=0.2,
            on_close_route=f"{site}/closed/here",
            on_close_payload={"job": 3},
        )
        async with asyncio.timeout(10):
            assert await told.get() == (
                "/closed/here",
                {"job": 3, "session_id": session["session_id"]},
            )
        await one.engine.until(lambda: one.engine.last.cur_load == 0)


@pytest.mark.parametrize("path", ["/s", "/passed-on"])
async def test_ending_a_session_breaks_off_what_is_under_way_in_it(path: str) -> None:
    def hold(call: Call) -> None:
        call.on_gone = lambda: None

    routes = (*ROUTES, Route(path="/passed-on", parallel=True))
    async with (
        model_server(hold) as model,
        running(Worker(model=model, routes=routes)) as one,
    ):
        auth, session = await opened(one)
        name = session["session_id"]
        waiting = asyncio.create_task(one.ask(path, "wait", auth=auth, session=name))
        # In a session's own requests the engine sees nothing; only the worker does.
        await until(lambda: one.worker._measure.requests == 1)
        plain = Pool(Origin("127.0.0.1", one.place.sessions_port, tls=False))
        body = msgspec.json.encode({"session_id": name, "session_auth": auth})
        assert (await plain.fetch("POST", "/session/end", body)).status == 200
        assert (await plain.fetch("POST", "/s", body)).status == 404
        (failure,) = await asyncio.gather(waiting, return_exceptions=True)
        assert isinstance(failure, Exception)
        await one.engine.until(lambda: one.engine.last.cur_load == 0)
        assert one.worker._measure.requests == 0
