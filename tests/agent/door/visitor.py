"""A person with OpenSSH's own programs, `rsync`, and a terminal of a real size."""

import asyncio
import contextlib
import fcntl
import os
import pty
import re
import socket
import struct
import subprocess
import termios
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

import asyncssh

PATIENCE_S = 20.0


@dataclass(frozen=True)
class Came:
    """How a program ended that was run at the door."""

    code: int
    out: bytes
    err: str


@dataclass(frozen=True)
class Visitor:
    """Somebody with a key, who knows the way to one instance."""

    port: int
    home: Path
    """Where the key and the list of known hosts are kept."""
    key: Path
    user: str = "root"

    @property
    def options(self) -> tuple[str, ...]:
        """What every program of OpenSSH is told: nothing of the person's own settings."""
        wanted = {
            "UserKnownHostsFile": self.home / "known_hosts",
            "StrictHostKeyChecking": "accept-new",
            "IdentitiesOnly": "yes",
            "IdentityFile": self.key,
            "BatchMode": "yes",
            "LogLevel": "ERROR",
        }
        options = [f"-o{name}={value}" for name, value in wanted.items()]
        return ("-F", "none", *options)

    @property
    def address(self) -> str:
        return f"{self.user}@127.0.0.1"

    def ssh_words(self, *words: str) -> tuple[str, ...]:
        """The command line of ssh; options in `words` come before the address."""
        options = [word for word in words if word.startswith("-")]
        command = [word for word in words if not word.startswith("-")]
        return ("ssh", *options, *self.options, "-p", str(self.port), self.address, *command)

    async def ssh(self, *words: str, given: bytes = b"") -> Came:
        return await came(*self.ssh_words(*words), given=given)

    async def scp(self, source: str | Path, target: str | Path, *words: str) -> Came:
        """Copy; a name that begins with `:` is in the instance."""
        ends = [
            f"{self.address}{end}" if str(end).startswith(":") else str(end)
            for end in (source, target)
        ]
        return await came("scp", "-q", *self.options, "-P", str(self.port), *words, *ends)

    async def sftp(self, *lines: str) -> Came:
        """Run a batch; it ends at the first line that fails, unless the line begins with `-`."""
        batch = "".join(f"{line}\n" for line in lines).encode()
        words = ("sftp", "-q", *self.options, "-P", str(self.port), "-b", "-", self.address)
        return await came(*words, given=batch)

    def connection(self) -> AbstractAsyncContextManager[asyncssh.SSHClientConnection]:
        """A connection by a program of the person's own, which does what OpenSSH does not."""
        return asyncssh.connect(
            *("127.0.0.1", self.port),
            username=self.user,
            client_keys=[str(self.key)],
            known_hosts=None,
            config=None,
        )

    @contextlib.asynccontextmanager
    async def at_files(self) -> AsyncIterator[None]:
        """Be connected by sftp, and wait."""
        program = await asyncio.create_subprocess_exec(
            *("sftp", "-q", *self.options, "-P", str(self.port), "-b", "-", self.address),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert program.stdin is not None
        assert program.stdout is not None
        program.stdin.write(b"pwd\n")
        try:
            async with asyncio.timeout(PATIENCE_S):
                while b"/root" not in await program.stdout.readline():
                    pass
            yield
        finally:
            await ended(program)

    async def rsync(self, source: str | Path, target: str | Path, *words: str) -> Came:
        """Copy; a name that begins with `:` is in the instance."""
        ends = [
            f"{self.address}{end}" if str(end).startswith(":") else str(end)
            for end in (source, target)
        ]
        remote = " ".join(("ssh", *self.options, "-p", str(self.port)))
        return await came("rsync", "-e", remote, *words, *ends)

    @contextlib.asynccontextmanager
    async def terminal(self, *words: str, size: tuple[int, int]) -> AsyncIterator["Terminal"]:
        """`ssh -tt` in a terminal of (columns, rows)."""
        ours, theirs = pty.openpty()
        set_size(ours, size)
        program = await asyncio.create_subprocess_exec(
            *self.ssh_words("-tt", *words),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(theirs)
        os.set_blocking(ours, False)
        try:
            yield Terminal(ours, program)
        finally:
            os.close(ours)
            await ended(program)

    @contextlib.asynccontextmanager
    async def forwarding(
        self, *words: str, until: int
    ) -> AsyncIterator[asyncio.subprocess.Process]:
        """`ssh -N` with forwardings, once it listens on the port `until`."""
        program = await asyncio.create_subprocess_exec(
            *self.ssh_words("-N", "-oExitOnForwardFailure=yes", *words),
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            await listens(until)
            yield program
        finally:
            await ended(program)


class Terminal:
    """What a person sees and types."""

    def __init__(self, descriptor: int, program: asyncio.subprocess.Process) -> None:
        self._descriptor = descriptor
        self.program = program
        self.seen = ""

    def type(self, text: str) -> None:
        os.write(self._descriptor, text.encode())

    def resize(self, size: tuple[int, int]) -> None:
        set_size(self._descriptor, size)

    async def shows(self, pattern: str) -> re.Match[str]:
        """Read until the pattern is seen, and forget everything up to its end."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while (found := re.search(pattern, self.seen)) is None:
                    piece = await self._read()
                    assert piece, f"the session ended; seen: {self.seen!r}"
                    self.seen += piece
        except TimeoutError:
            raise AssertionError(f"{pattern!r} is not in {self.seen!r}") from None
        self.seen = self.seen[found.end() :]
        return found

    async def end(self) -> int:
        """Read to the end; the exit status of ssh."""
        async with asyncio.timeout(PATIENCE_S):
            while piece := await self._read():
                self.seen += piece
            return await self.program.wait()

    async def _read(self) -> str:
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_reader(self._descriptor, ready.set)
        try:
            await ready.wait()
            return os.read(self._descriptor, 65_536).decode(errors="replace")
        except OSError:  # the other end was closed
            return ""
        finally:
            loop.remove_reader(self._descriptor)


async def came(*words: str, given: bytes = b"") -> Came:
    """Run a program to its end."""
    program = await asyncio.create_subprocess_exec(
        *words,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(3 * PATIENCE_S):
            out, err = await program.communicate(given)
    finally:
        await ended(program)
    assert program.returncode is not None
    return Came(program.returncode, out, err.decode(errors="replace"))


async def ended(program: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        program.kill()
    await program.wait()


async def listens(port: int) -> None:
    """Return when something accepts connections on a port of this machine."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.02)


def soon(command: str) -> str:
    """A command that waits up to five seconds for another to succeed."""
    return f"for i in $(seq 100); do {command} && exit 0; sleep 0.05; done; exit 1"


def a_free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def new_key(path: Path, kind: str = "ed25519") -> str:
    """Make a key pair; its public half, as a line of `authorized_keys`."""
    words = ("ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "somebody", "-f", str(path))
    subprocess.run(words, check=True)
    return path.with_suffix(".pub").read_text().strip()


def set_size(descriptor: int, size: tuple[int, int]) -> None:
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
