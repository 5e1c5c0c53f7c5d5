"""Images in which things can be installed without a network, made once, kept by their tags."""

import asyncio
import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from mercato.cli.up.base_image import base_image
from mercato.cli.up.docker import Engine, engine_socket
from mercato.cli.up.place import Place
from mercato.cli.up.say import Say

IMAGE = "mercato-test-lab:1"
ROOT = Path(__file__).parents[2]
_PROGRAMS = ROOT / "tests" / "engine" / "programs"
_WORKER_SERVERS = "vastai==1.9.1"
_WHEELS = "/wheels"
_OFFLINE = (
    f"PIP_NO_INDEX=1 PIP_FIND_LINKS={_WHEELS} UV_OFFLINE=1 UV_NO_INDEX=1 UV_FIND_LINKS={_WHEELS}"
)
_VERSION = "import sys; print('%d.%d' % sys.version_info[:2])"


def build_lab() -> None:
    """The base image with JupyterLab's wheels in it: about 60 MB and half a minute, once."""
    build_with_wheels(IMAGE, "jupyterlab")


def build_with_wheels(image: str, *requirements: str, own_python: bool = False) -> None:
    """The base image with what pip and uv need to install these without a network.

    With `own_python` its `python3` is that of this test.
    """
    if _docker("image", "inspect", image, check=False).returncode == 0:
        return
    with tempfile.TemporaryDirectory() as folder:
        base = _base(Path(folder))
        version = _docker(
            "run", "--rm", "--network", "none", base, "python3", "-c", _VERSION
        ).stdout
        root = Path(folder) / "root"
        wheels = root / "wheels"
        wheels.mkdir(parents=True)
        if own_python:
            _copy_python(root)
            version = "{}.{}".format(*sys.version_info)
        pip = shutil.which("pip", path=".venv-uv/bin") or shutil.which("pip3")
        assert pip is not None, "run make setup"
        subprocess.run(
            [
                *(pip, "download", "-q", "--dest", str(wheels), "--only-binary=:all:"),
                *("--python-version", version.strip(), *requirements),
            ],
            capture_output=True,
            check=True,
        )
        _commit(base, root, _OFFLINE, image)


def build_of_workers() -> str:
    """An image with both worker servers and the model of tests/engine; its name.

    What it is made of is in its name, so that a change is not missed.
    """
    sources = [ROOT / "src/mercato" / room for room in ("pyworker", "http", "wire")]
    files = [*_PROGRAMS.glob("*.py"), *(file for room in sources for file in room.rglob("*.py"))]
    made_of = hashlib.sha256(_WORKER_SERVERS.encode())
    for file in sorted(files):
        made_of.update(file.read_bytes())
    image = f"mercato-test-workers:{made_of.hexdigest()[:12]}"
    if _docker("image", "inspect", image, check=False).returncode == 0:
        return image
    old = _docker("images", "--quiet", "mercato-test-workers").stdout.split()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        site, wheels = root / "opt" / "site", Path(folder) / "wheels"
        shutil.copytree(_PROGRAMS, root / "opt" / "programs")
        _copy_python(root)
        subprocess.run(
            [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", wheels],
            cwd=ROOT / "packages" / "pyworker",
            capture_output=True,
            check=True,
        )
        uv = [str(ROOT / ".venv-uv/bin/uv"), "pip", "install", "--python", sys.executable]
        into = ["--target", str(site), _WORKER_SERVERS, *map(str, wheels.glob("*.whl"))]
        subprocess.run([*uv, *into], capture_output=True, check=True)
        _commit(_base(Path(folder)), root, "PYTHONPATH=/opt/site", image)
    for outdated in old:
        _docker("rmi", outdated, check=False)
    return image


def _base(folder: Path) -> str:
    place = Place(folder)
    place.make()
    return asyncio.run(base_image(Engine(engine_socket(), ours=False), place, Say()))


def _commit(base: str, root: Path, variables: str, image: str) -> None:
    """An image of another with what lies below `root`, and these variables."""
    made = _docker("create", "--network", "none", base, "true").stdout.strip()
    _docker("cp", f"{root}/.", f"{made}:/")
    _docker("commit", "-c", f"ENV {variables}", made, image)
    _docker("rm", made)


def _copy_python(root: Path) -> None:
    """Put the Python of this test where it lies here too: programs find their parts by that."""
    prefix = Path(sys.base_prefix)
    name = "python{}.{}".format(*sys.version_info)
    inside = root / prefix.relative_to("/")
    unneeded = shutil.ignore_patterns("test", "site-packages", "__pycache__", "config-*")
    shutil.copytree(prefix / "lib" / name, inside / "lib" / name, ignore=unneeded)
    for library in (prefix / "lib").glob("libpython*.so*"):
        shutil.copy2(library, inside / "lib", follow_symlinks=False)
    (inside / "bin").mkdir()
    shutil.copy2(prefix / "bin" / name, inside / "bin" / name)
    found = root / "usr" / "local" / "bin" / "python3"
    found.parent.mkdir(parents=True)
    # No link: an environment made by a link would look for its parts beside that.
    found.write_text(f'#!/bin/sh\nexec {prefix / "bin" / name} "$@"\n')
    found.chmod(0o755)


def _docker(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *words], capture_output=True, text=True, check=check)
