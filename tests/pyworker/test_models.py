"""The ready workers, each before a server that speaks as the one it is for."""

import asyncio
import base64
import itertools
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mercato.http.call import Call
from mercato.pyworker.models import comfyui, openai, plain, tgi
from mercato.pyworker.worker import Route, Worker, check
from tests.pyworker.surroundings import model_server, running, until


def said(call: Call) -> Any:
    return msgspec.json.decode(call.body)


async def test_a_server_of_openais_api_is_measured_in_tokens_and_streams() -> None:
    def vllm(call: Call) -> None:
        if call.path == "/health":
            call.answer(200)
        elif said(call).get("stream"):
            call.begin(200, [(b"content-type", b"text/event-stream")], None)
            call.write(b'data: {"choices":[]}\n\ndata: [DONE]\n\n')
            call.end()
        else:
            assert said(call)["model"] == "m"  # whatever the client has asked for
            call.answer(200, b'{"choices":[{"text":"hi"}]}')

    async with model_server(vllm) as model, running(openai.worker(model, name="m")) as one:
        assert one.engine.last.slots == 10
        answer = await one.ask("/v1/completions", {"prompt": "x", "max_tokens": 33, "model": "any"})
        assert b"hi" in answer.body
        stream = await one.ask("/v1/chat/completions", {"messages": [], "stream": True})
        assert stream.body.endswith(b"data: [DONE]\n\n")
        await one.engine.until(lambda: sum(s.cur_perf for s in one.engine.statuses) == 33 + 256)


@pytest.mark.parametrize(
    ("payload", "count"),
    [
        ({"max_tokens": 5}, 5.0),
        ({"max_completion_tokens": 7, "n": 3}, 21.0),
        ({}, 256.0),
        ({"max_tokens": None}, 256.0),
    ],
)
def test_tokens_are_those_that_may_be_generated(payload: Any, count: float) -> None:
    assert openai.tokens(payload) == count


def test_tokens_to_embed_are_estimated_from_the_text() -> None:
    assert openai.tokens_read({"input": "four" * 10}) == 10.0
    assert openai.tokens_read({"input": ["four", "four"]}) == 2.0
    assert tgi.tokens({"inputs": "x", "parameters": {"max_new_tokens": 9}}) == 9.0
    assert tgi.tokens({"inputs": "x", "parameters": None}) == 100.0


async def test_a_tgi_server_is_served_on_both_its_paths(tmp_path: Path) -> None:
    log = tmp_path / "tgi.log"
    log.write_text("INFO text_generation_router: Connected\n")

    def server(call: Call) -> None:
        call.answer(200, call.path.encode(), b"text/plain")

    async with (
        model_server(server) as model,
        running(tgi.worker(model, log=str(log))) as one,
    ):
        for path in ("/generate", "/generate_stream"):
            assert (await one.ask(path, {"inputs": "x"})).body == path.encode()


class Comfy:
    """A server of jobs, as ComfyUI is one."""

    def __init__(self) -> None:
        self.jobs: dict[str, int] = {}
        self.deleted: list[str] = []
        self.numbers = itertools.count(1)
        self.never = False

    def __call__(self, call: Call) -> None:
        if call.path == "/prompt":
            job = f"job-{next(self.numbers)}"
            self.jobs[job] = 2
            call.answer(200, msgspec.json.encode({"prompt_id": job}))
        elif call.path.startswith("/history/"):
            call.answer(200, msgspec.json.encode(self.history(call.path.split("/")[2])))
        elif call.path == "/view":
            call.answer(200, b"PNG " + call.query.encode(), b"image/png")
        elif call.path == "/queue":
            self.deleted += said(call)["delete"]
            call.answer(200)
        else:
            call.answer(200, b"{}")

    def history(self, job: str) -> Any:
        self.jobs[job] -= 1
        if self.never or self.jobs[job] > 0:
            return {}
        file = {"filename": "a b.png", "subfolder": "", "type": "output"}
        preview = {"filename": "p.png", "subfolder": "", "type": "temp"}
        return {job: {"status": {"completed": True}, "outputs": {"9": {"images": [file, preview]}}}}


async def test_a_job_server_is_posted_to_asked_after_and_its_files_fetched() -> None:
    async with model_server(Comfy()) as model, running(comfyui.worker(model)) as one:
        payloads: list[Any] = [{"workflow": {"1": {}}}, {"input": {"workflow_json": {"1": {}}}}]
        for payload in payloads:
            answer = await one.ask("/generate/sync", payload)
            (file,) = msgspec.json.decode(answer.body)["files"]
            assert file["filename"] == "a b.png"
            assert b"filename=a+b.png" in base64.b64decode(file["data"])
        assert (await one.ask("/generate/sync", {"workflow": "no"})).status == 422


async def test_a_client_that_leaves_takes_its_job_out_of_the_servers_queue() -> None:
    comfy = Comfy()
    comfy.never = True
    async with model_server(comfy) as model, running(comfyui.worker(model)) as one:
        asking = asyncio.create_task(one.ask("/generate/sync", {"workflow": {"1": {}}}))
        await until(lambda: bool(comfy.jobs))
        asking.cancel()
        await until(lambda: bool(comfy.deleted))
        assert comfy.deleted == ["job-1"]


async def test_a_plain_server_is_served_on_the_paths_that_were_named() -> None:
    def server(call: Call) -> None:
        call.answer(200, call.path.encode() + call.body)

    async with (
        model_server(server) as model,
        running(plain.worker(model, paths=["/a", "/b"], trial={"x": 1})) as one,
    ):
        assert (await one.ask("/b", {"x": 2})).body == b'/b{"x":2}'
        assert one.engine.last.max_perf > 0


@pytest.mark.parametrize(
    "worker",
    [
        Worker(routes=()),
        Worker(routes=(Route(path="/a"),)),
        Worker(model="http://x", routes=(Route(path="/a"), Route(path="/a"))),
        Worker(model="http://x", routes=(Route(path="a"),)),
        Worker(model="http://x", routes=(Route(path="/a"),), at_once=0),
    ],
)
def test_a_worker_whose_parts_do_not_fit_is_refused(worker: Worker) -> None:
    with pytest.raises(ValueError, match=r"worker|route|at_once"):
        check(worker)
