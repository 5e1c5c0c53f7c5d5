"""A live server on loopback for tests, with the accounts that they need."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import uvicorn

from mercato.cli.companion import EngineBeside
from mercato.control.app import ControlPlane, create_app
from mercato.control.clock import SystemClock
from mercato.control.db import Tx
from mercato.control.flows import paying
from mercato.control.flows.house import Rules
from mercato.control.settings import Settings
from mercato.control.store import accounts, api_keys
from mercato.market.money import nano


@dataclass
class Served:
    """A running server: where it is and the keys of its accounts."""

    url: str
    plane: ControlPlane
    keys: dict[str, str]
    client: httpx2.Client

    def call(
        self, method: str, path: str, key: str | None = None, json: Any = None, **more: Any
    ) -> httpx2.Response:
        """One request as an account, or as nobody."""
        headers = {"Authorization": f"Bearer {self.keys.get(key, key)}"} if key else {}
        headers |= more.pop("headers", {})
        return self.client.request(method, self.url + path, json=json, headers=headers, **more)


def _accounts(tx: Tx, now_ms: int) -> dict[str, str]:
    keys = {}
    for role in ("operator", "host", "renter", "other"):
        account = accounts.create(
            tx,
            email=f"{role}@example.com",
            username=role,
            now_ms=now_ms,
            is_operator=role == "operator",
            is_host=role == "host",
        )
        assert account is not None
        keys[role] = f"key-of-{role}-{account:032d}"
        api_keys.create(
            tx, account=account, kind="account", name="test", secret=keys[role], now_ms=now_ms
        )
        if role == "renter":
            paying.add_credit(tx, account, nano(100), "test", now_ms)
    return keys


@contextlib.contextmanager
def served(
    database_url: str, data: Path, *, engine: bool = False, **settings: Any
) -> Iterator[Served]:
    """A server on a free port of loopback, in a thread of its own, for as long as this is held.

    With an `engine` beside it, its endpoints are scaled and routed.
    """
    # The protocol is named so that asyncio sends small packets at once (TCP_NODELAY).
    with socket.socket(proto=socket.IPPROTO_TCP) as probe:
        probe.bind(("127.0.0.1", 0))
        listener = probe.dup()
    listener.listen(128)
    port = listener.getsockname()[1]
    rules = settings.pop("rules", Rules(simulated_verified=True))
    data_key = data / "data.key"
    url = f"http://127.0.0.1:{port}"
    app = create_app(
        Settings(database_url=database_url, data_key=data_key, port=port, rules=rules, **settings),
        by=(lambda plane: EngineBeside(plane, url)) if engine else None,
    )
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="on"))
    thread = threading.Thread(
        target=lambda: asyncio.run(server.serve(sockets=[listener])), daemon=True
    )
    thread.start()
    plane: ControlPlane = app.state.plane
    try:
        _until_ready(url, thread)
        keys = plane.db.run_now(_accounts, SystemClock().now_ms())
        with httpx2.Client(timeout=30) as client:
            yield Served(url, plane, keys, client)
    finally:
        server.should_exit = True
        thread.join(timeout=30)
        listener.close()


def _until_ready(url: str, thread: threading.Thread) -> None:
    deadline = SystemClock().now_ms() + 30_000
    wake = threading.Event()
    while SystemClock().now_ms() < deadline and thread.is_alive():
        with contextlib.suppress(httpx2.TransportError):
            if httpx2.get(f"{url}/readyz").status_code == 200:
                return
        wake.wait(0.05)
    raise AssertionError("the server did not become ready")
