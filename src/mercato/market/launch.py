"""What a rental runs: image, environment, ports, start script, way in."""

import msgspec


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """Credentials for a private image."""

    registry: str
    user: str
    password: str


class PortWish(msgspec.Struct, frozen=True, kw_only=True):
    """A container port that should be reachable from outside.

    From 70000 up it asks for any port that is the same inside and outside.
    """

    container: int
    protocol: str = "tcp"


class JupyterWish(msgspec.Struct, frozen=True, kw_only=True):
    """A JupyterLab that should be started inside."""

    directory: str = "/"
    lab: bool = True


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that makes a container what it is, apart from its hardware."""

    image: str
    login: Login | None = None
    ssh: bool = True
    """True: the platform keeps the container alive and gives a shell in it. False: the image's own
    entrypoint, or `entrypoint`, runs with `args`."""
    direct: bool = True
    jupyter: JupyterWish | None = None
    runtype: str = "ssh_direct ssh_proxy"
    """As it was asked for; shown again to whoever asked."""
    entrypoint: str | None = None
    user: str | None = None
    """Who runs the image's own entrypoint, `name` or `name:group`; None for whom the image says."""
    args: tuple[str, ...] = ()
    env: dict[str, str] = {}
    ports: tuple[PortWish, ...] = ()
    hostname: str | None = None
    volumes: tuple[str, ...] = ()
    """`V.<id>:/path`: volumes of the renter's on the same machine, and where they are mounted."""
    onstart: str = ""
