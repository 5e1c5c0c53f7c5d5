"""Workers of an endpoint, each in a container that a market rented out, and how they are killed."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, Self

import httpx2

from tests.e2e.conftest import Market
from tests.engine.ordeal import Dying, Mortals

_PORT: Final = 3_000
_STARTS: Final = {
    "ours": "python3 -c 'from mercato.pyworker.main import main; main()' ours.py",
    "official": "python3 official.py 8000 /var/log/model.log",
}
_ONSTART: Final = (
    "cd /opt/programs; : > /var/log/model.log; python3 model.py 8000 /var/log/model.log & exec "
)


class Rented(Mortals):
    """Some workers of either make. Their own market starts them again when they are killed."""

    def __init__(
        self, market: Market, kind: str, image: str, count: int, wanted: Mapping[str, Any]
    ) -> None:
        self.count = count
        self.name = f"ordeal-{kind}"
        self._wanted = wanted
        self._kind = kind
        self._image = image
        headers = {"Authorization": f"Bearer {market.keys['renter']}"}
        self._http = httpx2.AsyncClient(base_url=market.url, headers=headers, timeout=30.0)
        self._endpoint = 0

    @classmethod
    @contextlib.asynccontextmanager
    async def workers(
        cls, market: Market, kind: str, image: str, count: int, **wanted: Any
    ) -> AsyncIterator[Self]:
        """An endpoint that wants all its workers awake, always, unless something else is wanted.

        It is gone when this is left.
        """
        rented = cls(market, kind, image, count, wanted)
        async with rented._http:
            await rented._set_up()
            try:
                yield rented
            finally:
                await rented._call("DELETE", f"/api/v0/endptjobs/{rented._endpoint}/")

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
                **self._wanted,
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

    async def decided(self) -> list[dict[str, Any]]:
        """What was decided about its workers, the latest first."""
        told = await self._call("GET", f"/api/v0/endptjobs/{self._endpoint}/decisions/")
        made: list[dict[str, Any]] = told["decisions"]
        return made

    async def rows(self) -> dict[int, dict[str, Any]]:
        """What the engine shows of each; nothing before it knows their endpoint."""
        answer = await self._http.post("/get_endpoint_workers/", json={"id": self._endpoint})
        return {row["id"]: row for row in answer.json()} if answer.status_code == 200 else {}

    async def slay(self, number: int, luck: random.Random, dying: Dying) -> None:
        """Kill the container of the `number`th: all its processes, at once."""
        del luck  # its host starts it again, as soon as it sees
        ready = [row for _, row in sorted((await self.rows()).items()) if row["status"] == "idle"]
        if number >= len(ready):
            return  # one that starts has nothing to lose
        worker = ready[number]
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
