"""Where a worker runs, as the environment of its container says it (contract, section 4.6.1)."""

from collections.abc import Mapping
from pathlib import Path

import msgspec


class BadPlace(Exception):  # noqa: N818 - one line for whoever starts the worker
    """The environment lacks something; the message names it."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """What the market tells a worker about itself."""

    id: int
    """Its instance."""
    token: str
    """`MASTER_TOKEN`: known to this worker and its engine alone; empty when there is none."""
    engines: tuple[str, ...]
    """`REPORT_ADDR`: where to report, the first that answers."""
    port: int
    """Where it listens, inside the container."""
    sessions_port: int
    """Where sessions may be ended by plain HTTP."""
    url: str
    """Where clients reach it."""
    tls: bool
    certificate: Path = Path("/etc/instance.crt")
    key: Path = Path("/etc/instance.key")
    unsecured: bool = False
    """Believe every request. For development only."""
    update_file: Path = Path("/.force_update")
    """Written when the engine asks for an update; the start script acts on it."""


def read(environ: Mapping[str, str]) -> Place:
    """The place that an environment describes.

    Raises:
        BadPlace: when a variable is missing or is not what it should be.
    """
    port = _number(environ, "WORKER_PORT", "3000")
    tls = environ.get("USE_SSL", "false") == "true"
    outside = _number(environ, f"VAST_TCP_PORT_{port}")
    return Place(
        id=_number(environ, "CONTAINER_ID"),
        token=environ.get("MASTER_TOKEN", ""),
        engines=tuple(
            address.strip().rstrip("/")
            for address in _text(environ, "REPORT_ADDR").split(",")
            if address.strip()
        ),
        port=port,
        sessions_port=_number(environ, "WORKER_HTTP_PORT", str(port + 1)),
        url=f"http{'s' if tls else ''}://{_text(environ, 'PUBLIC_IPADDR')}:{outside}",
        tls=tls,
        certificate=Path(environ.get("WORKER_CERTIFICATE", "/etc/instance.crt")),
        key=Path(environ.get("WORKER_KEY", "/etc/instance.key")),
        unsecured=environ.get("UNSECURED", "false").lower() in {"1", "true", "yes", "on"},
        update_file=Path(environ.get("WORKER_UPDATE_FILE", "/.force_update")),
    )


def _text(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name, "").strip()
    if not value:
        raise BadPlace(f"{name} is not set; the market sets it in every worker's container")
    return value


def _number(environ: Mapping[str, str], name: str, default: str = "") -> int:
    value = environ.get(name, default).strip()
    if not value.isdigit():
        raise BadPlace(f"{name} must be a whole number, and is {value!r}")
    return int(value)
