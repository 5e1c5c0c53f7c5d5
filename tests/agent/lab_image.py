"""An image that JupyterLab can be installed in without a network, made once, kept by its tag."""

import asyncio
import shutil
import subprocess
import tempfile
from pathlib import Path

from mercato.cli.up.base_image import base_image
from mercato.cli.up.docker import Engine, engine_socket
from mercato.cli.up.place import Place
from mercato.cli.up.say import Say

IMAGE = "mercato-test-lab:1"
_WHEELS = "/wheels"
_VERSION = "import sys; print('%d.%d' % sys.version_info[:2])"


def build_lab() -> None:
    """The base image with JupyterLab's wheels in it: about 60 MB and half a minute, once."""
    if _docker("image", "inspect", IMAGE, check=False).returncode == 0:
        return
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder))
        place.make()
        base = asyncio.run(base_image(Engine(engine_socket(), ours=False), place, Say()))
        version = _docker("run", "--rm", "--network", "none", base, "python3", "-c", _VERSION)
        wheels = Path(folder) / "wheels"
        pip = shutil.which("pip", path=".venv-uv/bin") or shutil.which("pip3")
        assert pip is not None, "run make setup"
        subprocess.run(
            [
                *(pip, "download", "-q", "--dest", str(wheels), "--only-binary=:all:"),
                *("--python-version", version.stdout.strip(), "jupyterlab"),
            ],
            capture_output=True,
            check=True,
        )
        made = _docker("create", "--network", "none", base, "true").stdout.strip()
        _docker("cp", str(wheels), f"{made}:{_WHEELS}")
        _docker("commit", "-c", f"ENV PIP_NO_INDEX=1 PIP_FIND_LINKS={_WHEELS}", made, IMAGE)
        _docker("rm", made)


def _docker(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *words], capture_output=True, text=True, check=check)
