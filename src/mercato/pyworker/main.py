"""The `mercato-pyworker` program: a ready worker by name, or one's own by file."""

import argparse
import asyncio
import importlib.util
import json
import os
import random
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog
import uvloop

from mercato.pyworker.clock import SystemClock
from mercato.pyworker.models import comfyui, openai, plain, tgi
from mercato.pyworker.place import BadPlace, Place, read
from mercato.pyworker.server import CannotServe, PyWorker
from mercato.pyworker.worker import ModelLog, Worker

_EPILOG = """\
The market tells a worker who it is by its environment: CONTAINER_ID, REPORT_ADDR, MASTER_TOKEN,
PUBLIC_IPADDR, WORKER_PORT (3000), VAST_TCP_PORT_<that>, USE_SSL.

Examples:
  mercato-pyworker openai --model http://127.0.0.1:8000 --log /var/log/vllm.log
  mercato-pyworker plain --model http://127.0.0.1:5000 --path /predict --trial '{"x": 1}'
  mercato-pyworker my_worker.py
"""


class BadWorker(Exception):  # noqa: N818 - one line for whoever starts the worker
    """What was asked for is not a worker."""


def run(worker: Worker) -> None:
    """Be this worker until told to end: what a worker file of one's own calls last.

    Exits with one line on stderr when it cannot start.
    """
    log_plainly()
    try:
        uvloop.run(_until_told_to_end(worker, read(os.environ)))
    except (BadPlace, CannotServe, ValueError) as error:
        sys.exit(f"mercato-pyworker: {error}")


def log_plainly() -> None:
    """Have tracebacks logged without the values of variables: tokens and payloads are in these."""
    *others, _ = structlog.get_config()["processors"]
    plain = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*others, plain])


def main() -> None:
    """Run the program on the process's arguments."""
    options = _parser().parse_args()
    try:
        worker = _named(options)
    except BadWorker as error:
        sys.exit(f"mercato-pyworker: {error}")
    run(worker)


async def _until_told_to_end(worker: Worker, place: Place) -> None:
    task = asyncio.ensure_future(
        PyWorker(worker, place, SystemClock(), random.SystemRandom()).run()
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    with suppress(asyncio.CancelledError):
        await task


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mercato-pyworker",
        description="The small server inside each serverless worker.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "worker",
        nargs="?",
        default=os.environ.get("BACKEND"),
        help="openai, tgi, comfyui, plain, or a Python file that defines `worker` (or $BACKEND)",
    )
    parser.add_argument(
        "--model",
        default=os.environ.get("MODEL_SERVER_URL", "http://127.0.0.1:8000"),
        help="the model server (or $MODEL_SERVER_URL)",
    )
    parser.add_argument(
        "--log", default=os.environ.get("MODEL_LOG"), help="its log file (or $MODEL_LOG)"
    )
    parser.add_argument(
        "--health",
        default=os.environ.get("MODEL_HEALTH_ENDPOINT"),
        help="a path of it that answers 200 while it is well (or $MODEL_HEALTH_ENDPOINT)",
    )
    parser.add_argument("--name", default="", help="openai: the model's name")
    parser.add_argument("--trial", type=json.loads, help="a payload for the benchmark, as JSON")
    parser.add_argument("--path", action="append", help="plain: a path to serve; may be repeated")
    parser.add_argument("--loaded", action="append", help="plain: a text in the log when loaded")
    parser.add_argument("--failed", action="append", help="plain: a text in the log when failed")
    parser.add_argument("--parallel", action="store_true", help="plain: requests take no turns")
    parser.add_argument("--concurrency", type=int, default=10, help="requests of the benchmark")
    return parser


def _named(options: argparse.Namespace) -> Worker:
    given: dict[str, Any] = {"health": options.health} if options.health else {}
    match options.worker:
        case None:
            raise BadWorker("name a worker: openai, tgi, comfyui, plain or a Python file")
        case "openai":
            return openai.worker(
                options.model,
                log=options.log,
                name=options.name,
                concurrency=options.concurrency,
                **given,
            )
        case "tgi":
            return tgi.worker(
                options.model, log=options.log, concurrency=options.concurrency, **given
            )
        case "comfyui":
            return comfyui.worker(options.model, log=options.log, trial=options.trial, **given)
        case "plain":
            return _plain(options)
        case file:
            return _own(Path(file))


def _plain(options: argparse.Namespace) -> Worker:
    log = None
    if options.log:
        log = ModelLog(
            file=options.log,
            loaded=tuple(options.loaded or ()),
            failed=tuple(options.failed or ()),
        )
    return plain.worker(
        options.model,
        paths=options.path or ["/"],
        trial=options.trial,
        log=log,
        health=options.health,
        parallel=options.parallel,
        concurrency=options.concurrency,
    )


def _own(file: Path) -> Worker:
    spec = importlib.util.spec_from_file_location("worker_file", file)
    if spec is None or spec.loader is None or not file.exists():
        raise BadWorker(f"{file} is neither a ready worker's name nor a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    worker = getattr(module, "worker", None)
    if not isinstance(worker, Worker):
        raise BadWorker(f"{file} does not define `worker`, a mercato.pyworker.worker.Worker")
    return worker
