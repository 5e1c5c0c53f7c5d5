"""An instance moved to other GPUs: with all of its files, which stay its renter's alone."""

import pytest
from msgspec.structs import replace

from mercato.agent.engine import StepFailed
from mercato.agent.image_names import full_name
from mercato.market.instance import Actual
from mercato.wire.agent import RegistryLogin
from tests.agent.builders import desired, wanted
from tests.agent.door.visitor import came
from tests.agent.real import inside, living_host, new_engine, until_running, until_settled
from tests.agent.test_host import until

SECRET = "A-PRIVATE-KEY"


@pytest.mark.docker
async def test_the_files_of_a_moved_instance_are_nobody_elses_image(box: str) -> None:
    async with living_host() as host:
        it = wanted(1, image=box, gpus=(0,))
        host.take(desired(it))
        await until_running(host, 1)
        await inside(host, 1, f"echo {SECRET} > /root/key")
        host.take(desired(replace(it, running=False), generation=2))
        await until(host, 1, lambda it: it is not None and it.actual is Actual.STOPPED)
        it = replace(it, gpus=(1,))
        host.take(desired(it, generation=3))
        await until(host, 1, lambda it: it is not None and it.actual is Actual.RUNNING)
        assert await inside(host, 1, "cat /root/key") == (0, f"{SECRET}\n")
        moved = f"mercato-moved:mercato-{new_engine()._owner}-1"
        shown = await came("docker", "images", "--no-trunc", "--quiet", moved)
        identity = shown.out.decode().strip()
        short = identity.removeprefix("sha256:")
        names = (moved, f"docker.io/library/{moved}", identity, short, short[:12], short[:3])
        for number, name in enumerate(names, start=2):
            host.take(desired(it, wanted(number, image=name, gpus=(2,)), generation=2 + number))
            assert (await until_settled(host, number)).actual is Actual.FAILED, name


@pytest.mark.parametrize(
    "image",
    [
        "mercato-moved:mercato-abcd1234-17",
        "mercato-moved",
        "mercato-private:0123",
        "library/mercato-moved:x",
        "docker.io/mercato-moved:x",
        "docker.io/library/mercato-private@sha256:0123",
        "index.docker.io/library/mercato-moved:x",
    ],
)
def test_what_the_machine_keeps_for_itself_is_not_rented(image: str) -> None:
    hub = RegistryLogin(registry="", user="a", password="b")
    for login in (None, hub):
        with pytest.raises(StepFailed, match="cannot be rented: the machine keeps mercato-private"):
            full_name(image, login)


def test_of_other_registries_a_name_like_it_is_as_good_as_any() -> None:
    login = RegistryLogin(registry="ghcr.io", user="a", password="b")
    assert full_name("mercato-moved:1", login) == "ghcr.io/mercato-moved:1"
    assert full_name("acme/mercato-moved:1", None) == "acme/mercato-moved:1"


@pytest.mark.docker
@pytest.mark.parametrize("prefix", ["", "docker.io/library/", "docker.io/", "library/"])
async def test_an_image_of_the_machines_own_is_had_by_each_of_its_names(
    box: str, prefix: str
) -> None:
    engine = new_engine()
    try:
        await engine.make(wanted(1, image=f"{prefix}{box}"), {}, lambda _said: None)
    finally:
        await engine.remove(1)
        await engine.close()
