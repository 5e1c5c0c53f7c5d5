"""The worker server of the vastai package, as its users configure it. Run: MODEL_PORT LOG."""

import sys

from vastai.serverless.server.worker import (
    BenchmarkConfig,
    HandlerConfig,
    LogActionConfig,
    Worker,
    WorkerConfig,
)

Worker(
    WorkerConfig(
        model_server_url="http://127.0.0.1",
        model_server_port=int(sys.argv[1]),
        model_log_file=sys.argv[2],
        model_healthcheck_url=f"http://127.0.0.1:{sys.argv[1]}/health",
        log_action_config=LogActionConfig(on_load=["Model loaded"], on_error=["CUDA error"]),
        handlers=[
            HandlerConfig(
                route="/generate",
                allow_parallel_requests=True,
                max_queue_time=600.0,
                benchmark_config=BenchmarkConfig(
                    dataset=[{"dawdle_s": 0.02}], runs=2, concurrency=10
                ),
            ),
            HandlerConfig(route="/stream", allow_parallel_requests=True, max_queue_time=600.0),
            HandlerConfig(route="/serial", max_queue_time=600.0),
        ],
    )
).run()
