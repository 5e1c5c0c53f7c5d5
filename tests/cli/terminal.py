"""The program at a terminal, as somebody sits before it."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

COLUMNS = 80
CTRL_C = "\x03"
WAIT_S = 60.0


class Terminal:
    """A terminal of eighty columns in which the program runs."""

    def __init__(self, process: "subprocess.Popen[bytes]", screen: int) -> None:
        self._process = process
        self._screen = screen
        self._seen = b""

    @property
    def text(self) -> str:
        """All that was printed so far."""
        return self._seen.decode(errors="replace").replace("\r\n", "\n")

    def type(self, keys: str) -> None:
        os.write(self._screen, keys.encode())

    def until(self, word: str) -> None:
        """Wait until a word is printed after those that were waited for before."""
        begun = len(self._seen)
        until = time.monotonic() + WAIT_S
        while word.encode() not in self._seen[begun:]:
            assert self._reads(until), (word, self.text)

    def ends(self) -> int:
        """Wait for its end; its exit status."""
        until = time.monotonic() + WAIT_S
        while self._reads(until):
            pass
        return self._process.wait(timeout=WAIT_S)

    def _reads(self, until: float) -> bool:
        """Whether more was printed, before it ended or the time was over."""
        ready, _, _ = select.select([self._screen], [], [], max(0.0, until - time.monotonic()))
        more = b""
        with suppress(OSError):  # how Linux says that nobody has the terminal open any more
            more = os.read(self._screen, 65_536) if ready else b""
        self._seen += more
        return bool(more)


@contextmanager
def at_terminal(environment: Mapping[str, str], *arguments: str | Path) -> Iterator[Terminal]:
    """`mercato` with these arguments, at a terminal of its own as long as this is held."""
    screen, seat = pty.openpty()
    fcntl.ioctl(seat, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
    kept = {name: value for name, value in environment.items() if name != "COLUMNS"}
    process = subprocess.Popen(
        ["setsid", "--ctty", sys.executable, "-m", "mercato.cli", *map(str, arguments)],
        env={**kept, "TERM": "xterm"},
        stdin=seat,
        stdout=seat,
        stderr=seat,
    )
    os.close(seat)
    try:
        yield Terminal(process, screen)
    finally:
        process.kill()
        process.wait()
        os.close(screen)
