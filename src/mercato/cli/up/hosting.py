"""The demonstration's machines: joined once, run as child processes, listed at default prices."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

from mercato.agent import main as agent
from mercato.agent.client import AgentTrouble
from mercato.agent.hardware_file import BadHardwareFile, read_hardware_file
from mercato.cli.errors import Trouble
from mercato.cli.up.children import Child, mercato
from mercato.cli.up.place import Place
from mercato.cli.up.say import Say
from mercato.market.hardware import Network
from mercato.sdk import AsyncMercato
from mercato.sdk.shapes import Machine

PORTS_FIRST: Final = 40_000
PORTS_EACH: Final = 200

GPU: Final = 0.25
"""Dollars for a GPU and hour."""
DISK: Final = 0.15
"""Dollars for a GB and month."""
TRAFFIC: Final = 0.01
"""Dollars for a GB, either way."""
MIN_BID: Final = 0.10


class Machines:
    """The machines of one market: where they are kept, and how they present themselves."""

    def __init__(
        self, place: Place, url: str, hardware: Sequence[Path], public_ip: str | None, say: Say
    ) -> None:
        """One machine for each file of `hardware`; with none, this machine as it is."""
        self._place = place
        self._url = url
        self._hardware: Sequence[Path | None] = hardware or (None,)
        self._public_ip = public_ip
        self._say = say
        self.agents: list[Child] = []

    @asynccontextmanager
    async def hosted(
        self, host: AsyncMercato, operator: AsyncMercato, *, pretend: bool, remove_all: bool
    ) -> AsyncIterator[list[int]]:
        """Run every machine's agent and have it listed, for as long as this is held; their ids.

        `remove_all` has the agents remove their containers at the end.

        Raises:
            Trouble: when a machine cannot join or is not heard.
        """
        async with AsyncExitStack() as agents:
            machines = []
            for number, file in enumerate(self._hardware, start=1):
                title = f"host {number}" if len(self._hardware) > 1 else "host"
                with self._say.step(title) as step:
                    machine = await self._join(number, file, host, pretend=pretend)
                    before = (await _row(host, machine)).last_seen
                    child = self._agent(number, remove_all=remove_all)
                    agents.push_async_callback(child.stop)
                    self.agents.append(child)
                    await child.start(partial(_heard, host, machine, before))
                    step.outcome = await _list(host, operator, machine)
                machines.append(machine)
            yield machines

    async def _join(
        self, number: int, file: Path | None, host: AsyncMercato, *, pretend: bool
    ) -> int:
        directory = self._place.machine(number)
        first, last = _ports(number)
        setup = agent.Setup(
            pretend=pretend,
            hardware_file=file,
            public_ip=self._public_ip,
            port_first=first,
            port_last=last,
        )
        try:
            known = agent.joined_machine(directory)
            if known is not None:
                return known
            return await agent.join(self._url, await host.join_token(), directory, setup)
        except AgentTrouble as trouble:
            raise Trouble(str(trouble)) from trouble

    def _agent(self, number: int, *, remove_all: bool) -> Child:
        directory = self._place.machine(number)
        command = mercato("agent", "run", "--data", str(directory), "--url", self._url)
        log = self._place.logs / f"{directory.name}.log"
        return Child(
            f"agent of {directory.name}",
            [*command, *(["--stop-all"] if remove_all else [])],
            log,
            self._say,
        )


async def _heard(host: AsyncMercato, machine: int, before: float | None) -> bool:
    """Whether its agent has spoken since `before`, which is from an earlier run."""
    row = await _row(host, machine)
    return row.online is True and row.last_seen != before


async def _row(host: AsyncMercato, machine: int) -> Machine:
    for row in await host.machines():
        if row.id == machine:
            return row
    raise Trouble(
        f"machine {machine} joined once and is not the host's any more; give another --data"
    )


async def _list(host: AsyncMercato, operator: AsyncMercato, machine: int) -> str:
    """Put it on sale at the default prices, unless its host has set others; says what it is.

    It is verified too, so that a search of any client finds it without asking for more.
    """
    row = await _row(host, machine)
    if row.verification != "verified":
        await operator.verify(machine)
    if not row.listed:
        await host.list_machine(
            machine, gpu=GPU, disk=DISK, up=TRAFFIC, down=TRAFFIC, min_bid=MIN_BID, volumes=0
        )
        row = await _row(host, machine)
    marked = " (simulated)" if row.simulated else ""
    return (
        f"{row.num_gpus}x {row.gpu_name}{marked}, on sale as machine {machine} at "
        f"${row.listed_gpu_cost:g} per GPU and hour"
    )


def check(files: Sequence[Path]) -> None:
    """Read the files that declare machines, before anything is started.

    Raises:
        Trouble: when one cannot be used.
    """
    for number, file in enumerate(files, start=1):
        first, last = _ports(number)
        try:
            read_hardware_file(file, Network(port_first=first, port_last=last))
        except BadHardwareFile as bad:
            raise Trouble(str(bad), exit_code=2) from bad


def _ports(number: int) -> tuple[int, int]:
    """The first and the last port of the machine of a number, unless its file says other ones."""
    first = PORTS_FIRST + PORTS_EACH * (number - 1)
    return first, first + PORTS_EACH - 1
