"""The worker server of the vastai package before the bench's model. Run: MODEL_PORT LOG."""

import logging
import sys

from vastai.serverless.server.worker import (
    BenchmarkConfig,
    HandlerConfig,
    LogActionConfig,
    Worker,
    WorkerConfig,
)

worker = Worker(
    WorkerConfig(
        model_server_url="http://127.0.0.1",
        model_server_port=int(sys.argv[1]),
        model_log_file=sys.argv[2],
        model_healthcheck_url=f"http://127.0.0.1:{sys.argv[1]}/health",
        log_action_config=LogActionConfig(on_load=["Model loaded"]),
        handlers=[
            HandlerConfig(
                route="/v1/chat/completions",
                allow_parallel_requests=True,
                max_queue_time=600.0,
                benchmark_config=BenchmarkConfig(dataset=[{"x": 1}], runs=1),
            )
        ],
    )
)
# It logs at its finest by default; without that it is about a tenth quicker: be generous.
logging.getLogger().setLevel(logging.WARNING)
worker.run()
