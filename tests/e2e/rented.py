"""Workers of an endpoint, each in a container that a market rented out, and how they are killed."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from typing import Any, Final, Self

import httpx2

from tests.e2e.conftest import Market
from tests.engine.ordeal import Dying

_PORT: Final = 3_000
_STARTS: Final = {
    "ours": "python3 -c 'from mercato.pyworker.main import main; main()' ours.py",
    "official": "python3 official.py 8000 /var/log/model.log",
}
_ONSTART: Final = (
    "cd /opt/programs; : > /var/log/model.log; python3 model.py 8000 /var/log/model.log & exec "
)


class Rented:
    """Some workers of either make. Their own market starts them again when they are killed."""

    def __init__(self, market: Market, kind: str, image: str, count: int) -> None:
        self.count = count
        self.name = f"ordeal-{kind}"
        self._kind = kind
        self._image = image
        headers = {"Authorization": f"Bearer {market.keys['renter']}"}
        self._http = httpx2.AsyncClient(base_url=market.url, headers=headers, timeout=30.0)
        self._endpoint = 0

    @classmethod
    @contextlib.asynccontextmanager
    async def workers(
        cls, market: Market, kind: str, image: str, count: int
    ) -> AsyncIterator[Self]:
        """An endpoint that wants all its workers awake, always; gone when this is left."""
        rented = cls(market, kind, image, count)
        await rented._set_up()
        yield rented
        await rented._call("DELETE", f"/api/v0/endptjobs/{rented._endpoint}/")
        await rented._http.aclose()

    async def _call(self, method: str, path: str, body: Any = None) -> Any:
        answer = await self._http.request(method, path, json=body)
        assert answer.status_code == 200, (path, answer.text)
        return answer.json()

    async def _set_up(self) -> None:
        template = await self._call(
            "POST",
            "/api/v0/template/",
            {
                "name": self.name,
                "image": self._image,
                "runtype": "ssh",
                "env": f"-p {_PORT}:{_PORT} -e WORKER_PORT={_PORT} "
                "-e MODEL_SERVER_URL=http://127.0.0.1:8000 -e MODEL_LOG=/var/log/model.log",
                "onstart": _ONSTART + _STARTS[self._kind],
                "recommended_disk_space": 4,
            },
        )
        endpoint = await self._call(
            "POST",
            "/api/v0/endptjobs/",
            {
                "endpoint_name": self.name,
                "min_load": 1e9,
                "cold_workers": self.count,
                "max_workers": self.count,
            },
        )
        self._endpoint = endpoint["id"]
        await self._call(
            "POST",
            "/api/v0/workergroups/",
            {
                "endpoint_id": self._endpoint,
                "template_hash": template["template"]["hash_id"],
                "search_params": "num_gpus=1",
            },
        )

    async def rows(self) -> list[dict[str, Any]]:
        """The workers as the engine sees them; none before it knows their endpoint."""
        answer = await self._http.post("/get_endpoint_workers/", json={"id": self._endpoint})
        found: list[dict[str, Any]] = answer.json() if answer.status_code == 200 else []
        return found

    async def until_ready(self, count: int, *, seconds: float) -> None:
        """Wait until so many are ready."""
        try:
            async with asyncio.timeout(seconds):
                while sum(row["status"] == "idle" for row in await self.rows()) < count:  # noqa: ASYNC110 - other processes
                    await asyncio.sleep(0.2)
        except TimeoutError:
            logs = await self._call("POST", "/get_endpoint_logs/", {"id": self._endpoint})
            raise AssertionError(f"{await self.rows()}\n{logs}") from None

    async def until_nothing_is_here(self, *, seconds: float = 60.0) -> None:
        """Wait until every count of what is under way is exactly 0."""
        counts = ("reqs_working", "cur_load", "cur_load_rolling_avg")
        try:
            async with asyncio.timeout(seconds):
                while any(row[count] for row in await self.rows() for count in counts):  # noqa: ASYNC110 - other processes
                    await asyncio.sleep(0.2)
        except TimeoutError:
            raise AssertionError(await self.rows()) from None

    async def slay(self, number: int, luck: random.Random, dying: Dying) -> None:
        """Kill the container of the `number`th: all its processes, at once."""
        del luck  # its host starts it again, as soon as it sees
        ready = [row for row in await self.rows() if row["status"] == "idle"]
        if number >= len(ready):
            return  # one that starts has nothing to lose
        worker = sorted(ready, key=lambda row: int(row["id"]))[number]
        port = worker["url"].rpartition(":")[2]
        if container := await _docker("ps", "--quiet", "--filter", f"publish={port}"):
            with dying(worker["url"]):
                await _docker("kill", *container.split())


async def _docker(*words: str) -> str:
    """What Docker says; nothing when it refuses, as it does once there is nothing to kill."""
    process = await asyncio.create_subprocess_exec(
        "docker", *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    said, _ = await process.communicate()
    return said.decode()
