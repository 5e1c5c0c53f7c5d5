"""The official client deploys a function; its worker boots in a container of a real market.

The start script makes an environment and installs the client's serve mode in it, which installs
what the code asks for: all from wheels in the image, since a container here has no way out.
"""

import asyncio
from pathlib import Path

import pytest
from vastai import VastAI

from tests.agent.lab_image import build_with_wheels
from tests.control.api.deploying import able_to_deploy, program
from tests.e2e.conftest import market
from tests.e2e.journey import eventually

pytestmark = [pytest.mark.client, pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(400)]

IMAGE = "mercato-test-deploy"
READY_S = 180.0
CODE = """
from vastai import Deployment
from vastai.data.query import num_gpus

app = Deployment(
    api_key="{key}", webserver_url="{url}", autoscaler_url="{url}", name="words"
)
app.image("{image}", 10).pip_install("wordfreq").require(num_gpus == 1)
app.configure_autoscaling(cold_workers=1, max_workers=1)


@app.remote(benchmark_dataset=[{{"text": "one two three"}}], benchmark_runs=1)
async def count(text):
    import os
    from wordfreq import tokenize

    return {{"words": tokenize(text, "en"), "at": os.environ["CONTAINER_ID"]}}
"""


async def test_a_function_runs_in_a_container_with_what_it_asks_for(tmp_path: Path) -> None:
    await asyncio.to_thread(
        build_with_wheels,
        f"{IMAGE}:1",
        "vastai==1.9.1",
        "setuptools",
        "uv",
        "wordfreq",
        own_python=True,
    )
    with market() as up:
        vast = VastAI(api_key=up.keys["renter"], server_url=up.url)
        async with able_to_deploy():
            text = CODE.format(key=up.keys["renter"], url=up.url, image=f"{IMAGE}:1")
            module = program(text, tmp_path)
            await module.app.async_ensure_ready()
            async with asyncio.timeout(READY_S):
                answer = await module.count("as many as there are")
            assert answer["words"] == ["as", "many", "as", "there", "are"]
            (instance,) = await asyncio.to_thread(vast.show_instances)
            assert str(instance["id"]) == answer["at"]
            assert instance["image_uuid"] == f"{IMAGE}:1"
            (deployment,) = await asyncio.to_thread(vast.show_deployments)
            assert (await asyncio.to_thread(vast.delete_deployment, deployment["id"]))["success"]
            await asyncio.to_thread(eventually, lambda: vast.show_instances() == [])
