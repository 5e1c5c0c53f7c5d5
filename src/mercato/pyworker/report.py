"""What a worker tells its engine, and how it learns the engine's key.

One connection is kept to the engine that answers. What has changed is told within a quarter of a
second, and that the worker is still there every ten; while it works, every two.
"""

import asyncio
import contextlib
import shutil
from typing import Final
from urllib.parse import urlsplit

import msgspec
import structlog

from mercato.http.call import Headers, header
from mercato.http.client import Origin, OriginFailed, Pool
from mercato.http.line import Answer
from mercato.pyworker.clock import Clock
from mercato.pyworker.measure import Measure
from mercato.pyworker.place import Place
from mercato.pyworker.ticket import BadKey, TicketCheck
from mercato.wire.worker import (
    CLOCK_HEADER,
    PROTOCOL,
    PROTOCOL_HEADER,
    REPORT_VERSION,
    DeleteRequests,
    Status,
)

GATHERED_S: Final = 0.25
"""Changes are gathered for this long before they are told."""
IDLE_S: Final = 10.0
BUSY_S: Final = 2.0
TRIES: Final = 3
BETWEEN_TRIES_S: Final = 2.0
KEY_TRIES: Final = 5
KEPT_S: Final = 30.0
FINISHED_AT_ONCE: Final = 1_000
GIB: Final = 2**30

_JSON: Final[Headers] = ((b"content-type", b"application/json"),)
_log = structlog.get_logger("mercato.pyworker")


class _Refused(Exception):  # noqa: N818 - an answer, not a fault of the line
    """The engine will not have a report, and would not the next time."""


class _Engine:
    """One of the addresses to report to."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._path = urlsplit(address).path.rstrip("/")
        self._pool = Pool(Origin.of(address), kept_s=KEPT_S)

    async def ask(self, method: str, path: str, body: bytes = b"") -> Answer:
        """Raises OriginFailed when there is no answer, or one that is not 2xx; _Refused for 400."""
        answer = await self._pool.fetch(method, self._path + path, body, _JSON)
        if answer.status == 400:
            raise _Refused(f"{path} answered 400: {answer.body[:200]!r}")
        if not 200 <= answer.status < 300:
            raise OriginFailed(f"{path} answered {answer.status}: {answer.body[:200]!r}")
        return answer


class Reports:
    """Tells the engine about one run of a worker."""

    def __init__(
        self, place: Place, measure: Measure, tickets: TicketCheck, clock: Clock, boot: str
    ) -> None:
        """`boot` names this run."""
        self._place = place
        self._measure = measure
        self._tickets = tickets
        self._clock = clock
        self._engines = [_Engine(address) for address in place.engines]
        self._boot = boot
        self._began_s = clock.steady_s()
        self._sequence = 0
        self._disk_told_gb: float | None = None
        self._loaded_after_s = 0.0
        self._perf = 0.0
        self._error = ""
        self.slots = 0
        """Requests that the worker does at once; 0: as many as come."""
        self.has_key = asyncio.Event()

    def loaded(self, perf: float) -> None:
        """The worker is ready and does `perf` units a second."""
        self._perf = perf
        self._loaded_after_s = max(self._clock.steady_s() - self._began_s, 1e-3)
        self._measure.news.set()

    def error(self, message: str) -> None:
        """Something is wrong with the worker; "" when it no longer is."""
        if message:
            _log.error("the worker is not well", why=message)
        self._error = message[:2_000]
        self._measure.news.set()

    async def fetch_key(self) -> None:
        """Get the engine's public key; the worker is in error when that cannot be had."""
        why = "no engine is named"
        for attempt in range(KEY_TRIES):
            for engine in self._engines:
                try:
                    answer = await engine.ask("GET", "/pubkey/")
                    self._hear(answer)
                    full = int(header(answer.headers, PROTOCOL_HEADER) or b"0") >= 1
                    self._tickets.trust(answer.body.decode(), full=full)
                except (OriginFailed, _Refused, BadKey, ValueError) as error:
                    why = str(error)
                    continue
                self.has_key.set()
                return
            await asyncio.sleep(2.0**attempt)
        self.error(f"the engine's public key cannot be had: {why}")

    async def run(self) -> None:
        """Report for ever."""
        while True:
            await self.tell()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BUSY_S if self._measure.requests else IDLE_S):
                    await self._measure.news.wait()
            await asyncio.sleep(GATHERED_S)

    async def tell(self) -> bool:
        """Report once, now; whether an engine has it all."""
        self._measure.news.clear()
        finished = await self._tell_finished()
        told = await self._tell_status()
        if not (finished and told):
            self._measure.news.set()
        return finished and told

    async def _tell_finished(self) -> bool:
        measure = self._measure
        last = measure.ended  # what ends meanwhile is told the next time
        while (told := measure.ended - len(measure.finished)) < last:
            sent = measure.finished[: min(last - told, FINISHED_AT_ONCE)]
            message = DeleteRequests(
                worker_id=self._place.id, mtoken=self._place.token, requests=sent
            )
            if not await self._post("/delete_requests/", msgspec.json.encode(message)):
                return False
            measure.told(told + len(sent))
        return True

    async def _tell_status(self) -> bool:
        since = self._measure.since.copy()
        disk_gb = shutil.disk_usage("/").used / GIB
        self._sequence += 1
        message = self._status(disk_gb)
        message.new_load = max(0.0, since.received - since.cancelled)
        message.rej_load = since.rejected
        message.cur_perf = since.served
        if not await self._post("/worker_status/", msgspec.json.encode(message)):
            return False
        self._measure.since = self._measure.since.less(since)
        self._disk_told_gb = disk_gb
        return True

    def _status(self, disk_gb: float) -> Status:
        measure = self._measure
        told_gb = disk_gb if self._disk_told_gb is None else self._disk_told_gb
        idxs = measure.request_idxs
        return Status(
            id=self._place.id,
            mtoken=self._place.token,
            version=REPORT_VERSION,
            loadtime=self._loaded_after_s,
            cur_load=measure.load,
            max_perf=self._perf,
            error_msg=self._error,
            num_requests_working=len(idxs),
            num_requests_recieved=measure.received,
            additional_disk_usage=disk_gb - told_gb,
            disk_usage=disk_gb,
            working_request_idxs=idxs,
            url=self._place.url,
            protocol=PROTOCOL,
            slots=self.slots,
            boot=self._boot,
            sequence=self._sequence,
        )

    async def _post(self, path: str, body: bytes) -> bool:
        """Tell one of the engines; whether that is over and done with.

        A report that no engine would have is given up: what it carries would spoil every other.
        """
        refused, away = False, False
        for engine in tuple(self._engines):
            for attempt in range(TRIES):
                try:
                    self._hear(await engine.ask("POST", path, body))
                except OriginFailed as error:
                    _log.warning("a report was lost", engine=engine.address, why=str(error))
                    if attempt + 1 < TRIES:
                        await asyncio.sleep(BETWEEN_TRIES_S)
                except _Refused as refusal:
                    _log.error("a report was refused", engine=engine.address, why=str(refusal))
                    refused = True
                    break
                else:
                    self._prefer(engine)
                    return True
            else:
                away = True
        return refused and not away

    def _prefer(self, engine: _Engine) -> None:
        """Begin with the engine that answers, the next time: others may be slow to fail."""
        if self._engines[0] is not engine:
            self._engines.remove(engine)
            self._engines.insert(0, engine)

    def _hear(self, answer: Answer) -> None:
        told = header(answer.headers, CLOCK_HEADER)
        if told is not None and told.isdigit():
            self._tickets.hear_clock(float(told))
