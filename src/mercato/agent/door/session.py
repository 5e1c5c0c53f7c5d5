"""One session of a visitor: a terminal, a command or SFTP, joined to the container."""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Coroutine
from typing import Final

import asyncssh
import structlog

from mercato.agent.door import command
from mercato.agent.door.container import NotReached, lives
from mercato.agent.door.files_session import serve_files
from mercato.agent.engine import Engine, EngineDown, Session, StepFailed

_log = structlog.get_logger()

INPUT_HELD_MAX: Final = 256 * 1_024
"""Bytes that a visitor may be ahead of the command that reads them."""

FILES_MAX: Final = 8
"""Sessions of SFTP at once in one instance: each is a program outside of its memory limit."""

REFUSED: Final = 255
"""The exit status of a session that could not be had, as ssh itself has it."""

STOPPED_WITHIN_S: Final = 1.5
"""How soon the engine knows that a container has stopped whose processes have ended."""

_TERMINATED: Final = 143
_KILLED: Final = frozenset({137, _TERMINATED, REFUSED})
_SFTP: Final = "sftp"


class InstanceSession(asyncssh.SSHServerSession[bytes]):
    """What a visitor asked for, from the request to its exit status."""

    def __init__(
        self,
        engine: Engine,
        instance: int,
        user: str,
        left: Callable[[], None],
        serving_files: Callable[[], int],
    ) -> None:
        """Wait for the request. `left` is called once when the session is over.

        `serving_files` counts the instance's sessions of SFTP.
        """
        self._engine = engine
        self._instance = instance
        self._user = user
        self._left = left
        self._serving_files = serving_files
        self.serves_files = False
        """Whether it is a session of SFTP."""
        self._channel: asyncssh.SSHServerChannel[bytes]
        self._terminal: str | None = None
        self._size: tuple[int, int] | None = None
        self._argv: tuple[str, ...] | None = None
        self._input: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._input_held = 0
        self._writable = asyncio.Event()
        self._writable.set()
        self._unwanted = False
        self._running: Session | None = None
        self._work: asyncio.Task[None] | None = None
        self._small_work: set[asyncio.Task[None]] = set()

    def connection_made(self, chan: "asyncssh.SSHServerChannel[bytes]") -> None:
        """Take the channel."""
        self._channel = chan
        # OpenSSH's word for what `ssh … | head` leaves: asyncssh would not hand it on.
        chan._process_eow_at_openssh_dot_com_request = self._output_is_unwanted  # type: ignore[attr-defined] # noqa: SLF001 - see above

    def pty_requested(
        self,
        term_type: str,
        term_size: tuple[int, int, int, int],
        term_modes: object,  # noqa: ARG002 - the container's terminal has its own
    ) -> bool:
        """Have a terminal, unless it is only about files."""
        if self._user != command.ROOT:
            return False
        self._terminal = term_type or "dumb"
        self._size = _size(term_size[0], term_size[1])
        return True

    def shell_requested(self) -> bool:
        """Have a login shell."""
        if self._user != command.ROOT:
            return False
        self._argv = command.shell()
        return True

    def exec_requested(self, command: str) -> bool:
        """Have a command run."""
        return self._takes(command)

    def _takes(self, asked: str) -> bool:
        if self._user == command.ROOT:
            self._argv = command.run(asked)
            return True
        if asked.strip() == command.COPY_COMMAND:
            self._argv = command.copy(self._instance)
            return True
        return False

    def subsystem_requested(self, subsystem: str) -> bool:
        """Have SFTP, and nothing else by that way."""
        return subsystem == _SFTP and self._user == command.ROOT

    def session_started(self) -> None:
        """Begin what was asked for."""
        self._work = asyncio.create_task(self._run())

    def data_received(self, data: bytes, datatype: int | None) -> None:  # noqa: ARG002 - plain data
        """Keep what the visitor typed for the command."""
        self._input_held += len(data)
        self._input.put_nowait(data)
        if self._input_held > INPUT_HELD_MAX:
            self._channel.pause_reading()

    def eof_received(self) -> bool:
        """End the command's input; its output goes on."""
        self._input.put_nowait(None)
        return True

    def _output_is_unwanted(self, _packet: object) -> bool:
        """Note that nobody reads the output any more: what writes on gets the signal for it."""
        self._unwanted = True
        self._writable.set()
        return True

    def pause_writing(self) -> None:
        """Wait with output until the visitor has read some."""
        if not self._unwanted:
            self._writable.clear()

    def resume_writing(self) -> None:
        """Go on with output."""
        self._writable.set()

    def terminal_size_changed(self, width: int, height: int, pixwidth: int, pixheight: int) -> None:  # noqa: ARG002 - in characters
        """Let the command's terminal have the size of the visitor's."""
        self._size = _size(width, height)
        if self._running is not None and self._size is not None:
            self._soon(self._running.resize(*self._size))

    def signal_received(self, signal: str) -> None:
        """Send the command a signal."""
        self._send(signal)

    def break_received(self, msec: int) -> bool:  # noqa: ARG002 - a break has no length here
        """Interrupt the command."""
        self._send("INT")
        return True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - its end is enough
        """Hang up."""
        self._writable.set()
        if self._work is not None:
            self._work.cancel()
        self._left()

    def end(self, why: str) -> None:
        """Tell the visitor why, and end the session."""
        if self._work is not None and not self._work.done():
            self._work.cancel()
            self._refuse(why)

    async def ended(self) -> None:
        """Return when its command has been let go of."""
        if self._work is not None:
            await asyncio.wait([self._work])

    def _send(self, name: str) -> None:
        number = getattr(signal, f"SIG{name}", None)
        if self._running is not None and number is not None:
            self._soon(self._running.signal(number))

    def _soon(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(_tolerant(work))
        self._small_work.add(task)
        task.add_done_callback(self._small_work.discard)

    async def _run(self) -> None:
        try:
            first = await self._engine.pid(self._instance)
            if first == 0:
                self._refuse(f"instance {self._instance} does not run")
                return
            self._running = await self._begin()
            if self._size is not None:
                await self._running.resize(*self._size)
            await self._relay(self._running, first)
        except (NotReached, StepFailed, EngineDown) as why:
            self._refuse(str(why))
        except Exception:  # noqa: BLE001 - a fault in one session must not end the others
            _log.exception("a session broke", instance=self._instance)
            self._refuse("the agent of this machine made a mistake; its host can read about it")

    async def _begin(self) -> Session:
        if self._argv is None:
            if self._serving_files() >= FILES_MAX:
                raise NotReached(f"{FILES_MAX} sessions of SFTP are open in this instance already")
            self.serves_files = True
            client = self._channel.get_extra_info("client_version") or ""
            return await serve_files(self._engine, self._instance, client)
        peer = self._channel.get_extra_info("peername") or ("", 0)
        here = self._channel.get_extra_info("sockname") or ("", 0)
        return await self._engine.exec_start(
            self._instance,
            self._argv,
            tty=self._terminal is not None,
            env=command.variables(
                self._channel.get_environment(), self._terminal, peer[:2], here[:2]
            ),
            size=self._size,
        )

    async def _relay(self, session: Session, first: int) -> None:
        """Carry bytes both ways until the command ends, and tell how it ended."""
        feeding = asyncio.create_task(self._feed(session))
        ended = False
        try:
            while (piece := await session.read()) is not None:
                await self._writable.wait()
                if self._unwanted:
                    await session.signal(signal.SIGPIPE)
                elif piece[0] == 1:
                    self._channel.write(piece[1])
                else:
                    self._channel.write_stderr(piece[1])
            code = await session.exit_code()
            ended = True
            if code in _KILLED and await self._has_stopped(first, code):
                self._refuse(f"instance {self._instance} was stopped")
            else:
                self._channel.exit(code)
        finally:
            feeding.cancel()
            if not ended:
                with contextlib.suppress(EngineDown, StepFailed):
                    await session.signal(signal.SIGHUP)
            await session.close()

    async def _feed(self, session: Session) -> None:
        while (data := await self._input.get()) is not None:
            await session.write(data)
            self._input_held -= len(data)
            if self._input_held <= INPUT_HELD_MAX:
                self._channel.resume_reading()
        await session.write_eof()

    async def _has_stopped(self, first: int, code: int) -> bool:
        """Whether the container went away under a command that ended with `code`."""
        if lives(first) and code != _TERMINATED:
            return False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOPPED_WITHIN_S):
                # A container that stops tells every command to end before it ends itself.
                while lives(first):  # noqa: ASYNC110 - the kernel's
                    await asyncio.sleep(0.05)
                while await self._engine.pid(self._instance) == first:  # noqa: ASYNC110 - the engine's
                    await asyncio.sleep(0.05)
                return True
        return False

    def _refuse(self, why: str) -> None:
        if self._channel.is_closing():
            return
        line_end = "\r\n" if self._terminal is not None else "\n"
        said = f"{line_end if self._terminal else ''}mercato: {why}{line_end}"
        self._channel.write_stderr(said.encode())
        self._channel.exit(REFUSED)


def _size(columns: int, rows: int) -> tuple[int, int] | None:
    """A terminal's size; None for a visitor that does not know its own."""
    return (columns, rows) if 0 < columns < 65_536 and 0 < rows < 65_536 else None


async def _tolerant(work: Coroutine[None, None, None]) -> None:
    with contextlib.suppress(EngineDown, StepFailed):
        await work
