"""A whole street of real processes: an engine, workers of either make, a model server, clients."""

import asyncio
import contextlib
import os
import random
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from vastai import Serverless
from vastai.serverless.client.endpoint import Endpoint

from mercato.http.call import TEXT, Call
from mercato.http.client import Origin, OriginFailed, Pool
from mercato.http.server import Server
from tests.engine.ordeal import Dying, Mortals
from tests.pyworker.surroundings import complain, free_ports

PROGRAMS = Path(__file__).parent / "programs"
ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
ACCOUNT_KEY = "account-key"
KEY = "endpoint-key"
AWAY_MAX_S = 3.0
"""How long a killed worker is away before it is started again."""


def token(worker: int) -> str:
    return f"token-of-{worker}"


class Street(Mortals):
    """What runs, and how to start, kill and ask it."""

    def __init__(self, directory: Path, kind: str, count: int) -> None:
        self.directory = directory
        self.kind = kind
        self.count = count
        self.workers = range(1, count + 1)
        self.engine_port, self.model_port, *ports = free_ports(2 + 2 * count)
        self.ports = {worker: ports[2 * n : 2 * n + 2] for n, worker in enumerate(self.workers)}
        self.url = f"http://127.0.0.1:{self.engine_port}"
        self.pool = Pool(Origin.of(self.url))
        self.processes: dict[str, asyncio.subprocess.Process] = {}

    @classmethod
    @contextlib.asynccontextmanager
    async def up(cls, directory: Path, kind: str, count: int = 2) -> AsyncIterator[Self]:
        street = cls(directory, kind, count)
        try:
            await street.start_model()
            await street.start_engine()
            for worker in street.workers:
                await street.start_worker(worker)
            await street.until_ready(count)
            yield street
        finally:
            for name in tuple(street.processes):
                await street.kill(name)

    # Processes.

    async def _start(self, name: str, *command: Any, cwd: Path | None = None, **env: str) -> None:
        directory = cwd or self.directory
        directory.mkdir(exist_ok=True)
        with (self.directory / f"{name}.out").open("ab") as out:
            self.processes[name] = await asyncio.create_subprocess_exec(
                *map(str, command),
                cwd=directory,
                env=os.environ | {"PYTHONPATH": str(ROOT)} | env,
                stdout=out,
                stderr=out,
            )

    async def kill(self, name: str) -> None:
        process = self.processes.pop(name)
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()

    async def start_model(self) -> None:
        program = PROGRAMS / "model.py"
        log = self.directory / "model.log"
        await self._start("model", sys.executable, program, self.model_port, log)

    async def start_engine(self) -> None:
        rows = ", ".join(f'{{id = {n}, token = "{token(n)}"}}' for n in self.workers)
        file = self.directory / "engine.toml"
        file.write_text(
            f'account_key = "{ACCOUNT_KEY}"\nsigning_key = "signing.pem"\n'
            f'[[endpoint]]\nname = "llm"\nkey = "{KEY}"\nworkers = [{rows}]\n'
            'parameters = {state = "suspended"}\n'
        )
        command = (BIN / "mercato", "engine", "--standalone", file, "--port", self.engine_port)
        await self._start("engine", *command)
        async with asyncio.timeout(30):
            while not await self._answers():  # noqa: ASYNC110 - other processes
                await asyncio.sleep(0.05)

    async def _answers(self) -> bool:
        try:
            return (await self.pool.fetch("GET", "/health")).status == 200
        except OriginFailed:
            return False

    async def start_worker(self, worker: int) -> None:
        port, plain = self.ports[worker]
        env = {
            "CONTAINER_ID": str(worker),
            "MASTER_TOKEN": token(worker),
            "REPORT_ADDR": self.url,
            "PUBLIC_IPADDR": "127.0.0.1",
            "WORKER_PORT": str(port),
            "WORKER_HTTP_PORT": str(plain),
            f"VAST_TCP_PORT_{port}": str(port),
            "MODEL_SERVER_URL": f"http://127.0.0.1:{self.model_port}",
            "MODEL_LOG": str(self.directory / "model.log"),
        }
        command: tuple[Any, ...] = (BIN / "mercato-pyworker", PROGRAMS / "ours.py")
        if self.kind == "official":
            log = self.directory / "model.log"
            command = (sys.executable, PROGRAMS / "official.py", self.model_port, log)
        name = f"worker{worker}"
        await self._start(name, *command, cwd=self.directory / name, **env)

    def worker_at(self, url: str) -> int:
        return next(n for n, (port, _) in self.ports.items() if url.endswith(f":{port}"))

    async def slay(self, number: int, luck: random.Random, dying: Dying) -> None:
        worker = self.workers[number]
        with dying(f"http://127.0.0.1:{self.ports[worker][0]}"):
            await self.kill(f"worker{worker}")
        await asyncio.sleep(luck.uniform(0, AWAY_MAX_S))
        await self.start_worker(worker)

    # What the engine shows.

    async def rows(self) -> dict[int, dict[str, Any]]:
        body = msgspec.json.encode({"id": 1, "api_key": ACCOUNT_KEY})
        answer = await self.pool.fetch("POST", "/get_endpoint_workers/", body)
        assert answer.status == 200, answer
        return {row["id"]: row for row in msgspec.json.decode(answer.body)}

    # Clients.

    @contextlib.asynccontextmanager
    async def client(self) -> AsyncIterator[tuple[Serverless, Endpoint[Any]]]:
        """The official client, unmodified, told where things are in the ways that it offers."""
        async with certificates() as address:
            Serverless.SSL_CERT_URL = address
            async with Serverless(api_key=ACCOUNT_KEY, autoscaler_url=self.url) as client:
                endpoint: Endpoint[Any] = Endpoint(client, name="llm", id=1, api_key=KEY)
                yield client, endpoint


@contextlib.asynccontextmanager
async def certificates() -> AsyncIterator[str]:
    """Where the client finds the root certificate that it asks for at its start."""
    pem = _root_certificate()

    def take(call: Call) -> None:
        call.answer(200, pem, TEXT)

    server = Server(take, complain)
    port = await server.listen("127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{port}/static/jvastai_root.cer"
    finally:
        await server.stop(0.0)


def _root_certificate() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test root")])
    began = datetime(2026, 1, 1, tzinfo=UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(began)
        .not_valid_after(began + timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    return made.public_bytes(Encoding.PEM)
