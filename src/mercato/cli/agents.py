"""`mercato agent`: join this machine to a market, and be its agent."""

import asyncio
import signal
from collections.abc import Awaitable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from mercato.cli.command import Argument, Option, command, group
from mercato.cli.errors import Trouble
from mercato.cli.session import print_json, print_line

if TYPE_CHECKING:
    from mercato.market.hardware import Network

app = group("mercato")
agent = group("agent", "Join this machine to a market, and be its agent.", below=app)

Data = Annotated[Path, Option("--data", help="Where the agent keeps its key and journal.")]
DEFAULT = Path("/var/lib/mercato-agent")


@command(agent, "join")
def join(  # noqa: PLR0913 - how a machine presents itself, each an option
    url: Annotated[str, Argument(help="The market's address.")],
    token: Annotated[str, Argument(help="A join token of the host's account.")],
    *,
    data: Data = DEFAULT,
    pretend: Annotated[bool, Option("--pretend", help="No Docker: pretend containers.")] = False,
    hardware: Annotated[
        Path | None, Option("--hardware", help="A TOML file that declares the machine.")
    ] = None,
    public_ip: Annotated[
        str | None, Option("--public-ip", help="The address by which renters reach it.")
    ] = None,
    port_first: Annotated[
        int, Option("--port-first", help="The first port that renters can reach.")
    ] = 40_000,
    port_last: Annotated[int, Option("--port-last", help="The last such port.")] = 40_199,
) -> None:
    """Make this machine known to a market and keep the key that it is given.

    For example:

        mercato agent join https://market.example.com TOKEN

        mercato agent join http://127.0.0.1:8400 TOKEN --data ./agent --pretend
    """
    from mercato.agent import main
    from mercato.agent.client import AgentTrouble
    from mercato.market.hardware import PORT_MAX, Network

    reached = Network(port_first=port_first, port_last=port_last)
    if not reached.ports_can_be:
        raise Trouble(
            f"--port-first to --port-last must be a range within 1 to {PORT_MAX},"
            f" not {port_first} to {port_last}",
            exit_code=2,
        )
    if hardware is not None:
        _check(hardware, reached)
    setup = main.Setup(
        pretend=pretend,
        hardware_file=hardware,
        public_ip=public_ip,
        port_first=port_first,
        port_last=port_last,
    )
    try:
        machine = asyncio.run(main.join(url, token, data, setup))
    except AgentTrouble as trouble:
        raise Trouble(str(trouble)) from trouble
    print_line(f"Joined as machine {machine}. Next: mercato agent run --data {data}")


def _check(hardware: Path, reached: "Network") -> None:
    """See that a hardware file can be used, with this network where it says nothing."""
    from mercato.agent.hardware_file import BadHardwareFile, read_hardware_file

    try:
        read_hardware_file(hardware, reached)
    except BadHardwareFile as bad:
        raise Trouble(str(bad), exit_code=2) from bad


@command(agent, "run")
def run(
    *,
    data: Data = DEFAULT,
    url: Annotated[
        str | None, Option("--url", help="The market's address, when it has moved.")
    ] = None,
    stop_all: Annotated[
        bool, Option("--stop-all", help="Remove all its containers at the end.")
    ] = False,
) -> None:
    """Be this machine's agent until told to end; instances go on without it.

    Example: mercato agent run --data /var/lib/mercato-agent
    """
    from mercato.agent import main
    from mercato.agent.client import AgentTrouble

    try:
        asyncio.run(_until_told_to_end(main.run(data, url=url, stop_all=stop_all)))
    except AgentTrouble as trouble:
        raise Trouble(str(trouble)) from trouble


@command(agent, "status")
def status(
    *,
    data: Data = DEFAULT,
    raw: Annotated[bool, Option("--raw", help="Print JSON, for programs.")] = False,
) -> None:
    """Say which machine a directory belongs to.

    Example: mercato agent status --raw
    """
    from mercato.agent import main
    from mercato.agent.client import AgentTrouble

    try:
        machine = main.joined_machine(data)
    except AgentTrouble as trouble:
        raise Trouble(str(trouble)) from trouble
    if raw:
        print_json({"machine": machine, "data": str(data)})
    elif machine is None:
        raise Trouble(f"no machine has joined from {data}; run: mercato agent join URL TOKEN")
    else:
        print_line(f"Machine {machine}, data in {data}")


async def _until_told_to_end(work: Awaitable[None]) -> None:
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    with suppress(asyncio.CancelledError):
        await task
