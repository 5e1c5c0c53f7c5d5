"""The program and its package, as a container meets them."""

import asyncio
import contextlib
import os
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mercato.http.call import Call
from tests.pyworker.surroundings import TOKEN, WORKER, Engine, Running, model_server, placed

ROOT = Path(__file__).parents[2]
PROGRAM = Path(sys.executable).parent / "mercato-pyworker"


class Program(Running):
    """A worker in a process of its own, and one of its clients."""

    process: asyncio.subprocess.Process


@contextlib.asynccontextmanager
async def program(*arguments: str, **changes: str) -> AsyncIterator[Program]:
    async with Engine().up() as engine:
        place = placed(engine)
        environ = os.environ | {
            "CONTAINER_ID": str(WORKER),
            "MASTER_TOKEN": TOKEN,
            "REPORT_ADDR": engine.url,
            "PUBLIC_IPADDR": "127.0.0.1",
            "WORKER_PORT": str(place.port),
            "WORKER_HTTP_PORT": str(place.sessions_port),
            f"VAST_TCP_PORT_{place.port}": str(place.port),
            **changes,
        }
        process = await asyncio.create_subprocess_exec(PROGRAM, *arguments, env=environ)
        try:
            await engine.until(lambda: engine.last.loadtime > 0)
            one = Program(None, place, engine)  # type: ignore[arg-type]
            one.process = process
            yield one
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def test_the_example_of_a_worker_of_ones_own_runs() -> None:
    async with program(str(ROOT / "examples/worker.py")) as one:
        answer = await one.ask("/shout", {"text": "hello"})
        assert answer.body == b'{"text":"HELLO"}'
        lines = (ROOT / "examples/worker.py").read_text().splitlines()
        assert len([line for line in lines if line and not line.startswith(('"""', "    "))]) <= 10


async def test_a_ready_worker_is_chosen_by_name_and_ends_its_work_before_it_ends() -> None:
    began, gate = asyncio.Event(), asyncio.Event()

    async def slow(call: Call) -> None:
        if call.body == b'"slow"':
            began.set()
            await gate.wait()
        call.answer(200, call.body)

    async with (
        model_server(slow) as model,
        program(
            "--path", "/p", "--trial", '{"x": 1}', BACKEND="plain", MODEL_SERVER_URL=model
        ) as one,
    ):
        asking = asyncio.create_task(one.ask("/p", "slow"))
        await began.wait()
        one.process.terminate()
        gate.set()
        assert (await asking).body == b'"slow"'
        async with asyncio.timeout(10):
            assert await one.process.wait() == 0
        await one.engine.until(lambda: one.engine.last.cur_load == 0)


@pytest.mark.parametrize(
    ("arguments", "environ", "says"),
    [
        ((), {}, "name a worker"),
        (("nonsuch.py",), {}, "neither a ready worker's name nor a Python file"),
        (("openai",), {}, "PUBLIC_IPADDR is not set"),
        (("openai",), {"CONTAINER_ID": "x"}, "CONTAINER_ID must be a whole number"),
        (("openai", "--model", "ftp://x"), {"PUBLIC_IPADDR": "127.0.0.1"}, "ftp://x"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    arguments: tuple[str, ...], environ: dict[str, str], says: str
) -> None:
    given = {
        "PATH": os.environ["PATH"],
        "CONTAINER_ID": "1",
        "REPORT_ADDR": "http://127.0.0.1:1",
        "VAST_TCP_PORT_3000": "3000",
    }
    done = subprocess.run(
        [PROGRAM, *arguments], env=given | environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_package_holds_all_that_the_worker_imports(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path],
        cwd=ROOT / "packages/pyworker",
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    alone = tmp_path / "alone"
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(alone)
    ask = (
        "import sys, mercato.pyworker.main\n"
        "ours = [m.__file__ for n, m in sys.modules.items() if n.split('.')[0] == 'mercato']\n"
        "heavy = {'aiohttp', 'starlette', 'psycopg', 'numpy', 'typer'} & set(sys.modules)\n"
        "print(all(f.startswith(sys.argv[1]) for f in ours), len(ours) > 10, sorted(heavy))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", ask, str(alone)],
        env={"PYTHONPATH": str(alone)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split(maxsplit=2) == ["True", "True", "[]\n"]
