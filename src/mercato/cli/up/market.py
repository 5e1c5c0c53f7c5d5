"""`mercato up`, told in order: each part is started, and undone in the opposite order.

directory → Docker Engine → database → accounts → server → base image → machines → listing →
demonstration → serve until Ctrl-C.
"""

import asyncio
import os
import shutil
import signal
import socket
import sys
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from mercato.cli.errors import INTERRUPTED, Trouble
from mercato.cli.up import base_image, database, docker, hosting, server
from mercato.cli.up.accounts import bootstrap
from mercato.cli.up.demonstration import Demonstration
from mercato.cli.up.place import Keys, Place
from mercato.cli.up.ready import Ready, ReadyFile
from mercato.cli.up.reload import reloading
from mercato.cli.up.say import Say
from mercato.sdk import AsyncMercato


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line asked for."""

    data: Path
    host: str
    port: int
    demo: str
    """`none`, `keep` or `exit`."""
    engine: str
    """`docker` or `pretend`."""
    hardware: tuple[Path, ...]
    """Declared machines; none for this machine as it is."""
    ready_file: Path | None
    database_url: str | None
    need_free_gb: float
    reload: bool
    """Start the parts again when their code changes."""

    @property
    def url(self) -> str:
        """Where the server is reached from this machine."""
        host = "127.0.0.1" if self.host in {"0.0.0.0", "::", ""} else self.host  # noqa: S104 - compared, not bound
        return f"http://{host}:{self.port}"

    @property
    def public_ip(self) -> str | None:
        """Where instances are reached: on loopback as the server is, else found out."""
        return "127.0.0.1" if self.host in {"127.0.0.1", "localhost"} else None


def run(options: Options) -> int:
    """Run it all until it is interrupted; the exit status."""
    return asyncio.run(_run(options))


async def _run(options: Options) -> int:
    market = _Market(options)
    story = asyncio.create_task(market.story())
    loop = asyncio.get_running_loop()
    asked: list[signal.Signals] = []

    def stop(number: signal.Signals) -> None:
        # The first asks for the end; later ones would only disturb it.
        if not asked:
            story.cancel()
        asked.append(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop, number)
    with suppress(asyncio.CancelledError):
        await story
    if story.cancelled():
        market.say.line("Stopped." if market.served else "Stopped before it served.")
        return 0 if market.served else INTERRUPTED
    return 0


class _Market:
    """The parts of one run."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.say = Say()
        self.served = False
        self.place = Place(options.data)

    async def story(self) -> None:
        """Start everything, serve, and stop everything however it ends."""
        options, place, say = self.options, self.place, self.say
        async with AsyncExitStack() as parts:
            place.make()
            parts.enter_context(place.alone())
            place.need_space(options.need_free_gb)
            hosting.check(options.hardware)
            need_port(options.host, options.port)
            ready = ReadyFile(options.ready_file)
            ready.clear()
            keys = place.keys()
            say.line(f"Mercato comes up at {options.url}, data in {place.root}")
            engine = None
            if options.engine == "docker":
                engine = await parts.enter_async_context(docker.docker(place, say))
            database_url = await parts.enter_async_context(
                database.database(place, options.database_url, say)
            )
            await bootstrap(database_url, keys, say)
            served = await parts.enter_async_context(
                server.server(place, options.host, options.port, options.url, database_url, say)
            )
            image = await base_image.base_image(engine, place, say)
            host = await parts.enter_async_context(AsyncMercato(options.url, keys.host))
            operator = await parts.enter_async_context(AsyncMercato(options.url, keys.operator))
            hosts = hosting.Machines(place, options.url, options.hardware, options.public_ip, say)
            machines = await parts.enter_async_context(
                hosts.hosted(
                    host,
                    operator,
                    pretend=engine is None,
                    remove_all=engine is None or not engine.ours,
                )
            )
            if options.reload:
                await parts.enter_async_context(reloading([served, *hosts.agents], say))
            self.served = True
            with ready.standing(_ready(options, keys, machines[0], image)):
                await self._show(keys, image)

    async def _show(self, keys: Keys, image: str) -> None:
        options, say = self.options, self.say
        if options.demo != "none":
            async with AsyncMercato(options.url, keys.renter) as renter:
                demonstration = Demonstration(
                    renter, self.place.ssh_key, image, say, pretend=options.engine == "pretend"
                )
                instance = await demonstration.run()
                if options.demo == "exit":
                    await demonstration.end(instance)
                    say.line("The demonstration is over; everything is being stopped.")
                    return
        for line in farewell(options.url, keys, image, self.place):
            say.line(line)
        await asyncio.Event().wait()


def _ready(options: Options, keys: Keys, machine: int, image: str) -> Ready:
    return Ready(
        url=options.url,
        engine_url=options.url,
        operator_key=keys.operator,
        host_key=keys.host,
        renter_key=keys.renter,
        machine_id=machine,
        image=image,
        pid=os.getpid(),
    )


def farewell(url: str, keys: Keys, image: str, place: Place) -> list[str]:
    """What to tell when everything serves: the address, the keys, what to try next."""
    vastai = f"{typed('vastai')} --url {url} --api-key {keys.renter}"
    mercato = typed("mercato")
    return [
        "",
        f"Serving at {url} (API docs at {url}/docs)",
        f"  renter's key    {keys.renter}",
        f"  host's key      {keys.host}",
        f"  operator's key  {keys.operator}",
        "",
        "Try, with the official client:",
        f"  {vastai} search offers",
        f"  {vastai} create instance OFFER --image {image} --disk 4 --ssh --direct",
        f"  {vastai} show instances",
        "or with this program:",
        f"  {mercato} login {url} {keys.renter}",
        f"  {mercato} ps",
        f"  {mercato} ssh --identity {place.ssh_key} INSTANCE",
        f"  {mercato} admin loops --url {url} --api-key {keys.operator}",
        "",
        "Ctrl-C stops everything; the next start goes on with the same data.",
    ]


def typed(program: str) -> str:
    """How a person here names a program of this environment: short, and so that it is found."""
    ours = Path(sys.executable).with_name(program)
    if not ours.exists() or shutil.which(program) == str(ours):
        return program
    relative = os.path.relpath(ours)
    return str(ours) if relative.startswith("../../") else relative


def need_port(host: str, port: int) -> None:
    """Make sure that the port can be listened on.

    Raises:
        Trouble: when it cannot.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise Trouble(f"cannot listen on {host}:{port}: {why}; give another --port") from error
