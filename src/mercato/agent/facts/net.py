"""How the machine is reached."""

import socket
from typing import Final

from mercato.market.hardware import Network

_ANY_ADDRESS: Final = ("192.0.2.1", 9)
"""An address set aside for documentation: a datagram socket is pointed at it, nothing is sent."""


def read_network(port_first: int, port_last: int, public_ip: str | None = None) -> Network:
    """The machine's network: by default its address is the one that its routes go out by."""
    return Network(
        public_ip=public_ip or routable_address(),
        port_first=port_first,
        port_last=port_last,
    )


def routable_address() -> str:
    """The local address from which this machine would speak to the world; loopback when none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_ANY_ADDRESS)
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


def port_is_free(port: int) -> bool:
    """Whether nothing on this machine listens on a TCP port."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))  # noqa: S104 - instances are reached from everywhere
        except OSError:
            return False
    return True
