"""Who stands beside whom: each candidate passes requests on to the same model, from one core."""

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
from tools import HERE, CannotRun, Program, free_ports, peer_python, program

from mercato.engine.signing import Signer, new_key
from mercato.http.call import TEXT, Call
from mercato.http.client import Origin, OriginFailed, Pool
from mercato.http.server import Server
from mercato.wire.worker import (
    CLOCK_HEADER,
    PROTOCOL_HEADER,
    AuthData,
    Status,
    issue,
    shared_secret,
)
from tests.pyworker.surroundings import complain

PATH: Final = "/v1/chat/completions"
TOKEN: Final = "known to two"
WORKER: Final = 7
PAYLOAD: Final = {
    "model": "m",
    "messages": [{"role": "user", "content": "lorem ipsum dolor sit amet " * 20}],
    "max_tokens": 100,
}
KEY: Final = "sk-" + "5ca1ab1e" * 8
"""LiteLLM does not start without one."""
START_MAX_S: Final = 90.0
CANDIDATE_CORE: Final = 0
REST_CORE: Final = 1

NGINX = """\
worker_processes 1;
daemon off;
error_log stderr crit;
pid nginx.pid;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u;
  scgi_temp_path s;
  keepalive_requests 10000000;
  upstream model {{ server 127.0.0.1:{model}; keepalive 256; keepalive_requests 10000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://model; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffering off;
    }}
  }}
}}
"""
LITELLM = """\
model_list:
  - model_name: m
    litellm_params: {{model: openai/m, api_base: "http://127.0.0.1:{model}/v1", api_key: x}}
"""
RAY = """\
import asyncio, sys, aiohttp
from fastapi import FastAPI, Request
from fastapi.responses import Response, StreamingResponse
from ray import serve

app = FastAPI()

@serve.deployment(
    max_ongoing_requests=1000,
    logging_config={"enable_access_log": False, "log_level": "WARNING"},
)
@serve.ingress(app)
class Forward:
    def __init__(self, url):
        self.url, self.session = url, aiohttp.ClientSession()

    @app.post("/v1/chat/completions")
    async def chat(self, request: Request):
        answer = await self.session.post(self.url, data=await request.body())
        if answer.content_type == "text/event-stream":
            return StreamingResponse(answer.content.iter_any(), media_type="text/event-stream")
        return Response(await answer.read(), media_type="application/json")

serve.start(
    http_options={"host": "127.0.0.1", "port": int(sys.argv[2])},
    logging_config={"enable_access_log": False, "log_level": "WARNING"},
)
serve.run(Forward.bind(f"http://127.0.0.1:{sys.argv[1]}/v1/chat/completions"))
asyncio.run(asyncio.Event().wait())
"""


class Clerk:
    """As much of an engine as workers need: a key, a clock, an ear."""

    def __init__(self) -> None:
        self.signer = Signer(new_key())
        self.ready: set[str] = set()
        self.url = ""
        self._server = Server(self._take, complain)
        self._number = 0

    async def listen(self) -> None:
        """Be there."""
        self.url = f"http://127.0.0.1:{await self._server.listen('127.0.0.1', 0)}"

    @property
    def now_ms(self) -> int:
        """What the clock says."""
        return int(asyncio.get_running_loop().time() * 1_000)

    def _take(self, call: Call) -> None:
        headers = [(CLOCK_HEADER, b"%d" % self.now_ms)]
        if call.path == "/pubkey/":
            call.answer(200, self.signer.public, TEXT, [*headers, (PROTOCOL_HEADER, b"1")])
            return
        if call.path == "/worker_status/":
            status = msgspec.json.decode(call.body, type=Status)
            if status.error_msg:
                sys.exit(f"a worker says: {status.error_msg}")
            if status.loadtime:
                self.ready.add(status.url)
        call.answer(200, b"{}", headers=headers)

    def bodies(self, url: str, count: int, payload: Any) -> list[bytes]:
        """Requests for the worker at an address, each good for one use."""
        secret = shared_secret(TOKEN)
        encoded = msgspec.json.encode(payload)
        made = []
        for _ in range(count):
            self._number += 1
            auth = AuthData(
                endpoint="llm",
                url=url,
                cost=100.0,
                reqnum=self._number,
                request_idx=self._number,
                signature=self.signer.signature(url),
            )
            auth.ticket = issue(secret, auth, WORKER, self.now_ms)
            head = msgspec.json.encode(auth)
            made.append(b'{"auth_data":%s,"session_id":null,"payload":%s}' % (head, encoded))
        return made


class Candidate:
    """One that passes requests on."""

    def __init__(self, name: str, url: str, runs: Program | None, clerk: Clerk | None) -> None:
        """With a clerk it wants tickets; without a program it is the model itself."""
        self.name = name
        self.url = url
        self.runs = runs
        self._clerk = clerk

    def bodies(self, count: int, **more: Any) -> list[bytes]:
        """Requests that it takes; so many different ones where each is good for one use."""
        payload = PAYLOAD | more
        if self._clerk is None:
            return [msgspec.json.encode(payload)]
        return self._clerk.bodies(self.url, count, payload)

    async def start(self) -> None:
        """Start it, and return once it answers as it should.

        Raises:
            CannotRun: when it has ended, or does not do so in time.
        """
        if self.runs is not None:
            self.runs.start()
        pool, clock = Pool(Origin.of(self.url)), asyncio.get_running_loop().time
        until_s = clock() + START_MAX_S
        while clock() < until_s:
            if self._clerk is None or self.url in self._clerk.ready:
                try:
                    (body,) = self.bodies(1)
                    answer = await pool.fetch("POST", PATH, body, JSON_HEADERS)
                except OriginFailed:
                    pass
                else:
                    if answer.status == 200:
                        return
            if self.runs is not None and not self.runs.alive:
                break
            await asyncio.sleep(0.1)
        raise CannotRun(f"it did not start; it said: {self.runs.said if self.runs else ''}")

    def stop(self) -> None:
        """End it."""
        if self.runs is not None:
            self.runs.stop()


JSON_HEADERS: Final = (
    (b"content-type", b"application/json"),
    (b"authorization", f"Bearer {KEY}".encode()),
)
Maker = Callable[[Path, int, int, Clerk], Candidate]
"""From its folder, the model's port, its own port and who writes tickets; may raise CannotRun."""


def direct(home: Path, model: int, port: int, clerk: Clerk) -> Candidate:
    """The model itself: what the rest adds to."""
    del home, port, clerk
    return Candidate("direct", f"http://127.0.0.1:{model}", None, None)


def nginx(home: Path, model: int, port: int, clerk: Clerk) -> Candidate:
    """The floor: nginx with one process and kept connections."""
    path, env = program("nginx")
    home.mkdir(parents=True)
    (home / "nginx.conf").write_text(NGINX.format(model=model, port=port))
    runs = Program(
        path, "-p", home, "-c", home / "nginx.conf", core=CANDIDATE_CORE, cwd=home, **env
    )
    return _Ticketed("nginx", f"http://127.0.0.1:{port}", runs, clerk)


class _Ticketed(Candidate):
    """Gets the same bytes as a worker, and looks at none of them."""

    def bodies(self, count: int, **more: Any) -> list[bytes]:
        return super().bodies(min(count, 100), **more)

    async def start(self) -> None:
        assert self._clerk is not None
        self._clerk.ready.add(self.url)
        await super().start()


def pyworker(home: Path, model: int, port: int, clerk: Clerk) -> Candidate:
    """Ours, with full tickets."""
    command = (Path(sys.executable).parent / "mercato-pyworker", "plain", "--path", PATH)
    options = ("--parallel", "--trial", '{"x":1}', "--model", f"http://127.0.0.1:{model}")
    runs = Program(*command, *options, core=CANDIDATE_CORE, cwd=home, **_place(home, port, clerk))
    return Candidate("mercato-pyworker", f"http://127.0.0.1:{port}", runs, clerk)


def official(home: Path, model: int, port: int, clerk: Clerk) -> Candidate:
    """The worker server of the vastai package."""
    home.mkdir(parents=True)
    (home / "model.log").write_text("Model loaded\n")
    script = HERE / "official_worker.py"
    runs = Program(
        sys.executable,
        script,
        model,
        home / "model.log",
        core=CANDIDATE_CORE,
        cwd=home,
        **_place(home, port, clerk),
    )
    return Candidate("vastai worker", f"http://127.0.0.1:{port}", runs, clerk)


def _place(home: Path, port: int, clerk: Clerk) -> dict[str, str]:
    del home
    return {
        "CONTAINER_ID": str(WORKER),
        "MASTER_TOKEN": TOKEN,
        "REPORT_ADDR": clerk.url,
        "PUBLIC_IPADDR": "127.0.0.1",
        "WORKER_PORT": str(port),
        "WORKER_HTTP_PORT": str(free_ports(1)[0]),
        f"VAST_TCP_PORT_{port}": str(port),
    }


def litellm(home: Path, model: int, port: int, clerk: Clerk) -> Candidate:
    """LiteLLM's proxy with one process."""
    del clerk
    python = peer_python("litellm")
    home.mkdir(parents=True)
    (home / "config.yaml").write_text(LITELLM.format(model=model))
    command = (python.parent / "litellm", "--config", home / "config.yaml", "--port", port)
    env = {
        "LITELLM_MASTER_KEY": KEY,
        "LITELLM_LOG": "ERROR",
        "LITELLM_TELEMETRY": "False",
        "LITELLM_LOCAL_MODEL_COST_MAP": "1",
    }
    runs = Program(*command, "--num_workers", 1, core=CANDIDATE_CORE, cwd=home, **env)
    return Candidate("LiteLLM", f"http://127.0.0.1:{port}", runs, None)


def sglang(home: Path, model: int, port: int, clerk: Clerk) -> Candidate:
    """SGLang's router, in Rust."""
    del clerk
    python = peer_python("sglang-router")
    prometheus = free_ports(1)[0]
    command = (python.parent / "sglang-router", "launch", "--worker-urls")
    where = (f"http://127.0.0.1:{model}", "--host", "127.0.0.1", "--port", port)
    options = ("--policy", "round_robin", "--log-level", "error", "--prometheus-port", prometheus)
    runs = Program(*command, *where, *options, core=CANDIDATE_CORE, cwd=home)
    return Candidate("sglang-router", f"http://127.0.0.1:{port}", runs, None)


def ray(home: Path, model: int, port: int, clerk: Clerk) -> Candidate:
    """Ray Serve, all its processes on the one core."""
    del clerk
    python = peer_python("ray")
    home.mkdir(parents=True)
    (home / "app.py").write_text(RAY)
    env = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_TMPDIR": str(home)}
    os.environ.pop("RAY_ADDRESS", None)
    runs = Program(python, home / "app.py", model, port, core=CANDIDATE_CORE, cwd=home, **env)
    return Candidate("Ray Serve", f"http://127.0.0.1:{port}", runs, None)


CANDIDATES: Final[dict[str, Maker]] = {
    "direct": direct,
    "nginx": nginx,
    "mercato": pyworker,
    "official": official,
    "sglang": sglang,
    "litellm": litellm,
    "ray": ray,
}
