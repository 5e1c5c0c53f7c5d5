"""Private images from a real registry: a right login pulls, a wrong one says so, none is shown."""

import asyncio
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from mercato.agent.engine import StepFailed
from mercato.agent.memory import Memory
from mercato.market.instance import Actual
from mercato.wire.agent import DesiredInstance, RegistryLogin
from tests.agent.builders import desired, wanted
from tests.agent.real import living_host, new_engine, until_running, until_settled
from tests.e2e.conftest import free_port
from tests.e2e.journey import eventually

pytestmark = pytest.mark.docker

USER, PASSWORD, WRONG = "renter", "correct-horse", "battery-staple"
HTPASSWD = f"{USER}:$2b$04$gZeBeoYoO.3qQ5Gt/6jWLeJILqIBuDeR89NEOlYTfD.ZPoO9dbyga\n"
"""PASSWORD by bcrypt, which is all that a registry takes."""
CONFIG = """
version: 0.1
storage: {{filesystem: {{rootdirectory: {home}/data}}}}
http: {{addr: "127.0.0.1:{port}"}}
auth: {{htpasswd: {{realm: private, path: {home}/htpasswd}}}}
"""


@pytest.fixture(scope="module")
def registry(box: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry on loopback that lets in one user, with `private:1` in it; its address."""
    home, port = tmp_path_factory.mktemp("registry"), free_port()
    (home / "htpasswd").write_text(HTPASSWD)
    (home / "config.yml").write_text(CONFIG.format(home=home, port=port))
    address = f"127.0.0.1:{port}"
    with subprocess.Popen(
        ["docker-registry", "serve", str(home / "config.yml")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            eventually(lambda: _asks_who(address))
            _push(box, f"{address}/private:1", home)
            yield address
        finally:
            process.terminate()


def _asks_who(address: str) -> bool:
    try:
        urllib.request.urlopen(f"http://{address}/v2/", timeout=5)
    except urllib.error.HTTPError as answer:
        return answer.code == 401
    except OSError:
        return False
    return False


def _push(image: str, name: str, home: Path) -> None:
    docker = ["docker", "--config", str(home)]
    login = [*docker, "login", "--username", USER, "--password-stdin", name.partition("/")[0]]
    subprocess.run(login, input=PASSWORD.encode(), check=True, capture_output=True)
    # Another image than the one that the other tests use: what is here without a login is public.
    distinct = f"FROM {image}\nLABEL only.for=whom.the.registry.knows\n".encode()
    subprocess.run(
        ["docker", "build", "--tag", name, "-"], input=distinct, check=True, capture_output=True
    )
    subprocess.run([*docker, "push", "--quiet", name], check=True, capture_output=True)
    subprocess.run(["docker", "rmi", name], check=True, capture_output=True)


@pytest.fixture
def image(registry: str) -> Iterator[str]:
    """The private image, not on this machine."""
    name = f"{registry}/private:1"
    yield name
    found = _docker("images", "--no-trunc", "--quiet", name).split()
    subprocess.run(["docker", "rmi", "--force", *found], check=bool(found), capture_output=True)


def asking(image: str, login: RegistryLogin | None, number: int = 1) -> DesiredInstance:
    return msgspec.structs.replace(wanted(number, image=image), login=login)


@pytest.mark.parametrize("named", ["by the image", "by the login"])
async def test_a_right_login_pulls_and_is_shown_nowhere(
    registry: str, image: str, named: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    asked = image if named == "by the image" else "private:1"
    login = RegistryLogin(registry=registry, user=USER, password=PASSWORD)
    async with living_host(Memory(tmp_path / "memory")) as host:
        host.take(desired(asking(asked, login)))
        running = await until_running(host, 1)
        container = _docker("inspect", *_containers())
        assert "mercato.instance" in container
        told = [running.message, str(await host.observe()), container, *capfd.readouterr()]
    assert not any(PASSWORD in each for each in told)
    assert PASSWORD.encode() not in (tmp_path / "memory").read_bytes()


@pytest.mark.parametrize("login", ["wrong", "none"])
async def test_without_the_right_login_the_message_says_what_to_check(
    registry: str, image: str, login: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    given = RegistryLogin(registry=registry, user=USER, password=WRONG)
    async with living_host(Memory(tmp_path / "memory")) as host:
        host.take(desired(asking(image, given if login == "wrong" else None)))
        refused = await until_settled(host, 1)
        assert refused.actual is Actual.FAILED
        assert f"image {image} cannot be read; if it is private, check the" in refused.message
        assert not _containers()
        told = [refused.message, str(await host.observe()), *capfd.readouterr()]
    assert not any(WRONG in each for each in told)
    assert WRONG.encode() not in (tmp_path / "memory").read_bytes()


async def test_what_came_by_a_login_is_given_to_nobody_without_one(
    registry: str, image: str, tmp_path: Path
) -> None:
    login = RegistryLogin(registry=registry, user=USER, password=PASSWORD)
    async with living_host(Memory(tmp_path / "memory")) as host:
        host.take(desired(asking(image, login)))
        await until_running(host, 1)
        identity = _docker("images", "--no-trunc", "--quiet", image).strip()
        for number, name in enumerate((image, identity), start=2):
            host.take(desired(asking(name, None, number)))
            refused = await until_settled(host, number)
            assert refused.actual is Actual.FAILED, name
            assert not _containers()
        host.take(desired(asking(image, login, 4)))
        await until_running(host, 4)


async def test_an_agent_cut_off_before_the_mark_gives_the_image_to_nobody(
    registry: str, image: str, tmp_path: Path
) -> None:
    """The pull has ended, its image is here, and the agent is killed at that very moment."""
    login = RegistryLogin(registry=registry, user=USER, password=PASSWORD)
    first = new_engine(memory=Memory(tmp_path / "memory"))

    def die_once_it_is_here(_said: str) -> None:
        if _docker("images", "--quiet", image):
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await first.make(asking(image, login), {}, die_once_it_is_here)
    await first.close()
    again = new_engine(memory=Memory(tmp_path / "memory"))
    try:
        with pytest.raises(StepFailed, match="if it is private, check the registry login"):
            await again.make(asking(image, None), {}, lambda _said: None)
        await again.make(asking(image, login), {}, lambda _said: None)
    finally:
        await again.remove(1)
        await again.close()


async def test_a_pull_that_was_cut_off_makes_no_image_of_the_machines_own_private(
    registry: str, box: str, tmp_path: Path
) -> None:
    login = RegistryLogin(registry=registry, user=USER, password=PASSWORD)
    own = f"{registry}/of-the-machine:1"
    _docker("tag", box, own)
    engine = new_engine(memory=Memory(tmp_path / "memory"))

    def die(_said: str) -> None:
        raise asyncio.CancelledError

    try:
        with pytest.raises(asyncio.CancelledError):
            await engine.make(asking(own, login), {}, die)
        await engine.make(asking(own, None), {}, lambda _said: None)
    finally:
        await engine.remove(1)
        await engine.close()
        _docker("rmi", own)


def _containers() -> list[str]:
    """Those of this run's agent."""
    owner = f"label=mercato.owner={new_engine()._owner}"
    return _docker("ps", "--all", "--quiet", "--filter", owner).split()


def _docker(*words: str) -> str:
    done = subprocess.run(["docker", *words], check=True, capture_output=True, text=True)
    return done.stdout
