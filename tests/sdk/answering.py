"""A real HTTP server that answers what a test tells it to."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class Answers:
    """What to answer, in order; the last is repeated."""

    url: str = ""
    plan: list[tuple[int, Any, dict[str, str]]] = field(default_factory=list)
    seen: list[Request] = field(default_factory=list)

    def answer(self, status: int, body: Any, **headers: str) -> None:
        self.plan.append((status, body, headers))


@contextmanager
def answering() -> Iterator[Answers]:
    answers = Answers()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def _any(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            raw = self.rfile.read(length)
            body = json.loads(raw) if raw else None
            answers.seen.append(Request(self.command, self.path, dict(self.headers), body))
            place = min(len(answers.seen), len(answers.plan)) - 1
            status, body, headers = answers.plan[place]
            content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = _any  # noqa: N815 - the names that the base wants

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    answers.url = f"http://127.0.0.1:{listening.server_port}"
    thread = threading.Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    yield answers
    listening.shutdown()
    listening.server_close()
    thread.join()
