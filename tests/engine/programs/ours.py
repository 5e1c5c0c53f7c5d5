"""The same worker as programs/official.py, for mercato-pyworker."""

import os

from mercato.pyworker.worker import Benchmark, ModelLog, Route, Worker

worker = Worker(
    model=os.environ["MODEL_SERVER_URL"],
    log=ModelLog(file=os.environ["MODEL_LOG"], loaded=("Model loaded",), failed=("CUDA error",)),
    health="/health",
    routes=(
        Route(
            path="/generate",
            parallel=True,
            benchmark=Benchmark(payloads=[{"dawdle_s": 0.02}], rounds=2, concurrency=10),
        ),
        Route(path="/stream", parallel=True),
        Route(path="/serial"),
        Route(path="/v1/chat/completions", parallel=True),
        Route(path="/v1/completions", parallel=True),
        Route(path="/v1/embeddings", parallel=True),
    ),
)
