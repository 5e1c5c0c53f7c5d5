"""Jupyter inside an instance."""

import asyncio

import aiohttp
import pytest
from msgspec.structs import replace

from mercato.agent import environment
from mercato.agent.sync import Host
from mercato.wire.agent import Ask, Jupyter, Logs
from tests.agent.builders import desired as told
from tests.agent.builders import wanted
from tests.agent.lab_image import IMAGE as LAB_IMAGE
from tests.agent.lab_image import build_lab
from tests.agent.real import inside, living_host, until_running

TOKEN = "a-token-of-jupyter"

STANDS_IN = """\
mkdir -p /bin; cat > /bin/jupyter <<'END'
#!/bin/sh
echo "started with $*"
exec sleep 300
END
chmod +x /bin/jupyter
"""


async def until_logged(host: Host, text: str) -> str:
    ask = Ask(id=1, deadline_s=5.0, work=Logs(instance=1))
    async with asyncio.timeout(20.0):
        while text not in (said := (await host.answer(ask)).output):  # noqa: ASYNC110 - it is another process
            await asyncio.sleep(0.05)
    return said


def test_the_token_is_in_the_environment_and_in_no_command() -> None:
    it = replace(wanted(1), jupyter=Jupyter(token=TOKEN, directory="/srv"))
    variables = environment.environment(it, {"8080/tcp": 40_001}, "192.0.2.1")
    assert variables["JUPYTER_TOKEN"] == TOKEN
    assert variables["JUPYTER_SERVER_URL"] == "http://192.0.2.1:40001/"
    assert variables["VAST_TCP_PORT_8080"] == "40001"
    assert TOKEN not in environment.first_process(it)
    assert "jupyter" not in environment.first_process(wanted(1))


@pytest.mark.docker
async def test_an_image_without_any_says_what_to_do_and_one_with_it_has_it_started(
    box: str,
) -> None:
    async with living_host() as host:
        it = replace(wanted(1, image=box), jupyter=Jupyter(token=TOKEN, directory="/srv/here"))
        host.take(told(it))
        await until_running(host, 1)
        assert "choose an image" in await until_logged(host, "this image has no jupyter")
        assert (await inside(host, 1, STANDS_IN))[0] == 0
        host.take(told(replace(it, boots=1), generation=2))
        said = await until_logged(host, "started with lab")
        assert "--port=8080 --ServerApp.port_retries=0 --ServerApp.root_dir=/srv/here" in said
        assert TOKEN not in said
        assert (await inside(host, 1, "test -d /srv/here && ps -o args"))[0] == 0


@pytest.fixture(scope="session")
def lab() -> str:
    build_lab()
    return LAB_IMAGE


async def asked(url: str) -> tuple[int, str]:
    """The status and the text with which a web server answers; 0 while there is none."""
    try:
        async with aiohttp.ClientSession() as web, web.get(url) as answer:
            return answer.status, await answer.text()
    except aiohttp.ClientError:
        return 0, ""


@pytest.mark.docker
async def test_a_real_jupyterlab_is_installed_and_opens_to_its_token_only(lab: str) -> None:
    async with living_host() as host:
        it = wanted(1, image=lab, ram_mb=2_000, pids_max=1_000)
        host.take(told(replace(it, jupyter=Jupyter(token=TOKEN, directory="/srv"))))
        port = (await until_running(host, 1)).ports["8080/tcp"]
        url = f"http://127.0.0.1:{port}"
        async with asyncio.timeout(120.0):
            while (await asked(f"{url}/api"))[0] != 200:  # noqa: ASYNC110 - it is another process
                await asyncio.sleep(0.2)
        assert (await asked(f"{url}/api/contents"))[0] == 403
        assert (await asked(f"{url}/api/contents?token=wrong"))[0] == 403
        assert (await inside(host, 1, "echo found > /srv/file"))[0] == 0
        status, listed = await asked(f"{url}/api/contents?token={TOKEN}")
        assert (status, "file" in listed) == (200, True)
        status, page = await asked(f"{url}/lab?token={TOKEN}")
        assert (status, "JupyterLab" in page) == (200, True)
