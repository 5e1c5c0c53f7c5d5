"""How a program inside an instance reaches a control plane that runs on its own host.

The firewall keeps instances off their host, and a server on loopback cannot be reached from them at
all. So where the control plane's address is a loopback one (a market on one machine), the agent
relays it on the instances' bridge, and they know it as `mercato.internal`.
"""

import asyncio
import contextlib
import ipaddress
from urllib.parse import urlsplit

HOME = "mercato.internal"
"""The name of the control plane inside instances."""

_PIECE = 64 * 1_024


class WayHome:
    """The relay, if one is needed."""

    def __init__(self, control_url: str) -> None:
        """Relay `control_url` when its host is a loopback one."""
        parts = urlsplit(control_url)
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._server: asyncio.Server | None = None
        self._gateway = ""

    @property
    def needed(self) -> bool:
        """Whether instances could not reach the control plane without it."""
        if self._host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self._host).is_loopback
        except ValueError:
            return False

    @property
    def openings(self) -> list[tuple[str, int]]:
        """What the firewall must let through from instances to this host."""
        return [(self._gateway, self._port)] if self._server is not None else []

    @property
    def names(self) -> list[str]:
        """What instances know beside what their name servers tell, as the engine takes it."""
        return [f"{HOME}:{self._gateway}"] if self._server is not None else []

    async def open(self, gateway: str) -> None:
        """Listen on the bridge's own address; again changes nothing.

        Raises:
            OSError: when it cannot be listened on.
        """
        if (self._server is not None and gateway == self._gateway) or not self.needed:
            return
        await self.close()
        # Shared: every agent of this host stands here, and any of them relays.
        self._server = await asyncio.start_server(self._relay, gateway, self._port, reuse_port=True)
        self._gateway = gateway

    async def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection(self._host, self._port)
        except OSError:
            writer.close()
            return
        try:
            await asyncio.gather(_pass_on(reader, back), _pass_on(there, writer))
        finally:
            back.close()
            writer.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on what comes until its end, and the end too; the other way may go on."""
    with contextlib.suppress(OSError):
        while piece := await reader.read(_PIECE):
            writer.write(piece)
            await writer.drain()
        writer.write_eof()
