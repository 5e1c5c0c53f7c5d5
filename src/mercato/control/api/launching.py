"""What should run, from a request and a template, in the words of any client.

A request's own values win over its template's; environment and ports are merged name by name.
"""

import re
import shlex
from typing import Any, Final

import msgspec

from mercato.control.secrets_box import SecretsBox
from mercato.control.store.templates import StoredTemplate
from mercato.market import errors
from mercato.market.launch import JupyterWish, Launch, Login, PortWish
from mercato.market.volume import parse_mount

ONSTART_MAX: Final = 65_536
ARGS_MAX: Final = 1_024
VARIABLES_MAX: Final = 1_024
PORTS_MAX: Final = 64
IMAGE_MAX: Final = 512
USER_MAX: Final = 128
PORT_MAX: Final = 99_999
"""From 70000 up a port asks for any number that is the same inside and outside."""

RUNTYPE_DEFAULT: Final = "ssh_direct ssh_proxy"

_IMAGE = re.compile(r"[A-Za-z0-9][\w./:@+-]*")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]*)?")
_HOSTNAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,62})")
_PORT = re.compile(r"(?:(\d+):)?(\d+)(?:/(tcp|udp))?")


class LaunchRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a request that says what to run."""

    image: str | None = None
    template_hash_id: str | None = None
    template_id: int | None = None
    env: dict[str, Any] | str | None = None
    """Docker flags as text, or as clients parse them: names, `-p 80:80`, `-h`."""
    onstart: str | None = None
    """A script for every start; one word, where the image's own entrypoint runs, stands for it."""
    args: list[str] | str | None = None
    args_str: str | None = None
    runtype: str | None = None
    image_login: str | None = None
    """`-u USER -p PASSWORD REGISTRY`."""
    extra: str | None = None
    """More Docker flags as text, of the same kinds as in `env`."""
    user: str | None = None
    """Who runs the image's own entrypoint; only where that runs."""
    jupyter_dir: str | None = None
    use_jupyter_lab: bool | None = None
    python_utf8: bool | None = None
    lang_utf8: bool | None = None
    force: bool | None = None


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What Docker flags ask for."""

    env: dict[str, str] = {}
    ports: tuple[PortWish, ...] = ()
    hostname: str | None = None
    volumes: tuple[str, ...] = ()


def launch_of(asked: LaunchRequest, template: StoredTemplate | None, box: SecretsBox) -> Launch:
    """What to run.

    Raises:
        InvalidRequest: naming what cannot be run.
    """
    body: dict[str, Any] = template.body if template else {}
    return _launch(asked, body, Options(), box)


def changed_launch(
    before: Launch, asked: LaunchRequest, template: StoredTemplate | None, box: SecretsBox
) -> Launch:
    """What to run from now on; what neither request nor template names stays."""
    if template is not None:
        return launch_of(asked, template, box)
    kept = Options(
        env=before.env, ports=before.ports, hostname=before.hostname, volumes=before.volumes
    )
    body = {
        "image": before.image,
        "onstart": before.onstart or before.entrypoint,
        "runtype": before.runtype,
        "jupyter_dir": before.jupyter.directory if before.jupyter else None,
        "use_jupyter_lab": before.jupyter.lab if before.jupyter else None,
        "args_str": shlex.join(before.args),
    }
    launch = _launch(asked, body, kept, box)
    return msgspec.structs.replace(
        launch,
        login=launch.login or before.login,
        user=launch.user or (None if launch.ssh else before.user),
    )


def _launch(asked: LaunchRequest, body: dict[str, Any], below: Options, box: SecretsBox) -> Launch:
    options = _over(_over(below, options_of(body.get("env"))), options_of(asked.env))
    options = _over(options, options_of(asked.extra))
    unsaid = "args" if asked.args or asked.args_str else RUNTYPE_DEFAULT
    tokens = _tokens(asked.runtype or _template_runtype(body) or unsaid)
    jupyter = any(token.startswith("jupyter") for token in tokens)
    ssh = jupyter or any(token.startswith("ssh") for token in tokens)
    onstart = asked.onstart if asked.onstart is not None else body.get("onstart") or ""
    if len(onstart) > ONSTART_MAX:
        raise errors.TooLong(f"onstart has at most {ONSTART_MAX} characters.")
    # So the official client sends its --entrypoint.
    entrypoint = onstart.strip() if not ssh and len(onstart.split()) == 1 else None
    return Launch(
        image=_image(asked, body),
        login=_login(asked.image_login) or _template_login(body, box),
        ssh=ssh,
        direct=any(token.endswith(("_direct", "_direc")) for token in tokens),
        jupyter=_jupyter(asked, body) if jupyter else None,
        runtype=" ".join(tokens),
        entrypoint=entrypoint,
        user=_user(asked.user, ssh=ssh),
        args=_args(asked, body),
        env=_locale(asked) | options.env,
        ports=options.ports,
        hostname=options.hostname,
        volumes=options.volumes,
        onstart="" if entrypoint else onstart,
    )


def _jupyter(asked: LaunchRequest, body: dict[str, Any]) -> JupyterWish:
    return JupyterWish(
        directory=asked.jupyter_dir or body.get("jupyter_dir") or "/",
        lab=bool(asked.use_jupyter_lab or body.get("use_jupyter_lab")),
    )


def _locale(asked: LaunchRequest) -> dict[str, str]:
    """The variables that two wishes about text come to."""
    python = {"PYTHONIOENCODING": "utf-8"} if asked.python_utf8 else {}
    return python | ({"LANG": "C.UTF-8"} if asked.lang_utf8 else {})


def _user(name: str | None, *, ssh: bool) -> str | None:
    if not name:
        return None
    if ssh:
        raise errors.InvalidRequest(
            "user is only for images that run their own entrypoint (runtype args): over SSH and"
            " Jupyter you are root."
        )
    if len(name) > USER_MAX or not _USER.fullmatch(name):
        raise errors.InvalidRequest(f"{name[:80]!r} is not a user like app or 1000:1000.")
    return name


def _over(below: Options, above: Options) -> Options:
    ports = {(port.container, port.protocol): port for port in (*below.ports, *above.ports)}
    if len(ports) > PORTS_MAX:
        raise errors.InvalidRequest(f"An instance has at most {PORTS_MAX} ports.")
    return Options(
        env=below.env | above.env,
        ports=tuple(ports.values()),
        hostname=above.hostname or below.hostname,
        volumes=tuple(dict.fromkeys((*below.volumes, *above.volumes))),
    )


def _image(asked: LaunchRequest, body: dict[str, Any]) -> str:
    image = (asked.image or body.get("image") or "").strip()
    tag = body.get("tag")
    name = image.rpartition("/")[2]
    if not asked.image and tag and ":" not in name and "@" not in name:
        image = f"{image}:{'latest' if tag == '[Automatic]' else tag}"
    if not image:
        raise errors.InvalidRequest("Say which image to run: image, or a template that has one.")
    if len(image) > IMAGE_MAX or not _IMAGE.fullmatch(image):
        raise errors.InvalidRequest(f"{image[:80]!r} is not the name of an image.")
    return image


def _tokens(runtype: str) -> list[str]:
    known = ("ssh", "jupyter", "args")
    tokens = runtype.replace(",", " ").split()
    for token in tokens:
        if not token.startswith(known):
            raise errors.InvalidRequest(f"{token!r} is no runtype; say ssh, jupyter or args.")
    return tokens


def _template_runtype(body: dict[str, Any]) -> str | None:
    runtype = body.get("runtype")
    if runtype == "jupyter" and body.get("jup_direct"):
        return "jupyter_direc ssh_direc ssh_proxy"
    if runtype == "ssh" or (runtype is None and body.get("use_ssh")):
        return "ssh_direc ssh_proxy" if body.get("ssh_direct") else "ssh_proxy"
    return runtype or None


def _args(asked: LaunchRequest, body: dict[str, Any]) -> tuple[str, ...]:
    given: list[str] | str | None = asked.args or asked.args_str or body.get("args_str")
    if not given:
        return ()
    words = _words(given, "args") if isinstance(given, str) else given
    if len(words) > ARGS_MAX:
        raise errors.TooLong(f"There are at most {ARGS_MAX} args.")
    return tuple(words)


def _words(text: str, what: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as problem:
        raise errors.InvalidRequest(f"{what} cannot be read: {problem}") from None


def _login(text: str | None) -> Login | None:
    if not text or not text.strip():
        return None
    user = password = ""
    registry = "docker.io"
    words = iter(_words(text, "image_login"))
    for word in words:
        if word in {"-u", "--username"}:
            user = next(words, "")
        elif word in {"-p", "--password"}:
            password = next(words, "")
        else:
            registry = word
    if not user or not password:
        raise errors.InvalidRequest("image_login reads like: -u USER -p PASSWORD REGISTRY")
    return Login(registry=registry, user=user, password=password)


def _template_login(body: dict[str, Any], box: SecretsBox) -> Login | None:
    sealed, user = body.get("docker_login_pass"), body.get("docker_login_user")
    if not sealed or not user:
        return None
    return Login(
        registry=body.get("docker_login_repo") or "docker.io",
        user=user,
        password=box.open(sealed.encode()),
    )


def options_of(given: dict[str, Any] | str | None) -> Options:
    """What Docker flags ask for, as text or as clients parse them.

    Raises:
        InvalidRequest: naming the flag that is not allowed or cannot be read.
    """
    if not given:
        return Options()
    pairs = (
        _pairs(given)
        if isinstance(given, str)
        else [(name, "" if value is None else str(value)) for name, value in given.items()]
    )
    env: dict[str, str] = {}
    ports: list[PortWish] = []
    volumes: list[str] = []
    hostname = None
    for name, value in pairs:
        flag, _, rest = name.strip().partition(" ")
        match flag:
            case "-p":
                ports.append(_port(rest or value))
            case "-h":
                hostname = _hostname(rest or value)
            case "-v":
                parse_mount(rest or value)
                volumes.append(rest or value)
            case "-n":
                raise errors.InvalidRequest("Overlay networks are not offered here; leave out -n.")
            case _:
                # Of -e 'A=b c' the official client leaves the quote on the name.
                env[_variable(name.lstrip("'\""))] = _content(name, value)
    if len(env) > VARIABLES_MAX:
        raise errors.TooLong(f"There are at most {VARIABLES_MAX} variables.")
    return Options(env=env, ports=tuple(ports), hostname=hostname, volumes=tuple(volumes))


_FLAGS: Final = {
    "-e": "-e", "--env": "-e", "-p": "-p", "--publish": "-p", "-h": "-h", "--hostname": "-h",
    "-v": "-v", "--volume": "-v",
}  # fmt: skip


def _pairs(text: str) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    words = iter(_words(text, "env"))
    for word in words:
        flag, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
        if flag not in _FLAGS and word[:2] in {"-e", "-p", "-h", "-v"} and not equals:
            flag, equals, value = word[:2], "=", word[2:]
        if flag not in _FLAGS:
            raise errors.InvalidRequest(
                f"The option {word[:80]!r} is not allowed: only -e, -p, -h and -v are."
            )
        value = value if equals else next(words, "")
        kind = _FLAGS[flag]
        if kind == "-e":
            name, _, content = value.partition("=")
            pairs.append((name, content))
        else:
            pairs.append((kind, value))
    return pairs


def _variable(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise errors.InvalidRequest(f"{name[:80]!r} is not the name of a variable.")
    return name


def _content(name: str, value: str) -> str:
    if "\x00" in value:
        raise errors.InvalidRequest(f"The value of {name[:80]} cannot hold a NUL character.")
    return value


def _hostname(name: str) -> str:
    if not _HOSTNAME.fullmatch(name.strip()):
        raise errors.InvalidRequest(f"{name[:80]!r} is not a hostname.")
    return name.strip()


def _port(text: str) -> PortWish:
    found = _PORT.fullmatch(text.strip())
    if found is None or not 0 < int(found[2]) <= PORT_MAX:
        raise errors.InvalidRequest(f"{text[:80]!r} is not a port like 8080:8080 or 53:53/udp.")
    return PortWish(container=int(found[2]), protocol=found[3] or "tcp")
