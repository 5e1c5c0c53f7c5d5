"""A worker that speaks as a test wants, byte by byte, and the engine that sends everybody to it."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DRIP_S = 0.05
"""From one part of a slow answer to the next."""


class Line:
    """What a worker says after its caller's request, until somebody hangs up."""

    def __init__(self, handler: BaseHTTPRequestHandler, over: threading.Event) -> None:
        self._handler = handler
        self._over = over

    def begin(self, kind: str, *headers: str, status: str = "200 OK") -> None:
        """Send the head of an answer."""
        lines = (f"HTTP/1.1 {status}", f"Content-Type: {kind}", "Connection: close", *headers)
        self.say(("\r\n".join(lines) + "\r\n\r\n").encode())

    def say(self, content: bytes) -> None:
        """Send bytes."""
        self._handler.wfile.write(content)
        self._handler.wfile.flush()

    def drip(self, content: bytes) -> None:
        """Send bytes again and again, slowly, without an end."""
        while not self._over.wait(DRIP_S):
            self.say(content)

    def silence(self) -> None:
        """Say nothing more, and do not hang up."""
        self._over.wait()


Speak = Callable[[Line], None]


@contextmanager
def speaking(worker: Speak, engine: Speak | None = None) -> Iterator[str]:
    """The engine's address; it says `engine` instead of where the worker is, when given."""
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.close_connection = True
            line = Line(self, over)
            try:
                if self.path != "/route/":
                    worker(line)
                elif engine is not None:
                    engine(line)
                else:
                    line.begin("application/json")
                    line.say(json.dumps({"url": url, "request_idx": 7}).encode())
            except OSError:
                pass  # the caller hung up

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    url = f"http://127.0.0.1:{listening.server_port}"
    thread = threading.Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    try:
        yield url
    finally:
        over.set()
        listening.shutdown()
        listening.server_close()
        thread.join()
