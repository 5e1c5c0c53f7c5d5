"""ComfyUI and servers like it: a job is posted, asked after, and then fetched.

A request's payload is a workflow in ComfyUI's API form, as `{"workflow": {...}}`, or
`{"input": {"workflow_json": {...}}}` as the vendors' worker takes it. It is answered with the
outputs and the files that they name, in base64.
"""

import asyncio
import base64
import contextlib
from typing import Any, Final
from urllib.parse import urlencode

from mercato.pyworker.model import Model, ModelFailed
from mercato.pyworker.worker import Benchmark, ModelLog, Refused, Route, Worker

LOOK_S: Final = 0.25
LOADED: Final = ("To see the GUI go to:",)
KINDS: Final = ("images", "gifs", "audio", "video")
"""Where a node's output names its files."""


async def generate(payload: Any, model: Model) -> Any:
    """Run a workflow to its end; a client that hangs up takes it out of the server's queue."""
    workflow = _workflow(payload)
    job = (await model.post("/prompt", {"prompt": workflow}))["prompt_id"]
    try:
        outputs = await _outputs(model, job)
    except asyncio.CancelledError:
        with contextlib.suppress(ModelFailed):
            await model.post("/queue", {"delete": [job]}, timeout_s=2.0)
        raise
    return {"id": job, "outputs": outputs, "files": await _files(model, outputs)}


def _workflow(payload: Any) -> Any:
    if isinstance(payload, dict):
        inside = payload.get("input")
        found = payload.get("workflow") or (
            inside.get("workflow_json") if isinstance(inside, dict) else None
        )
        if isinstance(found, dict):
            return found
    raise Refused(422, 'give the workflow in API form: {"workflow": {...}}')


async def _outputs(model: Model, job: str) -> Any:
    while True:
        entry = (await model.get(f"/history/{job}")).get(job)
        if entry is not None:
            status = entry.get("status") or {}
            if status.get("status_str") == "error":
                raise ModelFailed(f"the workflow failed: {status.get('messages')}")
            if status.get("completed", True):
                return entry.get("outputs") or {}
        await asyncio.sleep(LOOK_S)


async def _files(model: Model, outputs: Any) -> list[dict[str, str]]:
    named = [
        file
        for output in outputs.values()
        for kind in KINDS
        for file in output.get(kind, ())
        if file.get("type") == "output"
    ]
    return [
        {
            "filename": str(file["filename"]),
            "data": base64.b64encode(await model.get_bytes(f"/view?{urlencode(file)}")).decode(),
        }
        for file in named
    ]


def worker(
    model: str,
    *,
    log: str | None = None,
    health: str | None = "/system_stats",
    trial: Any = None,
) -> Worker:
    """A worker for the server at `model`; `trial` is a workflow for its benchmark."""
    benchmark = None
    if trial is not None:
        benchmark = Benchmark(payloads=[{"workflow": trial}], rounds=2)
    return Worker(
        model=model,
        log=None if log is None else ModelLog(file=log, loaded=LOADED),
        health=health,
        routes=(
            # Images take longer than the usual patience of a queue: the engine keeps it short.
            Route(path="/generate/sync", answer=generate, queue_max_s=600.0, benchmark=benchmark),
        ),
    )
