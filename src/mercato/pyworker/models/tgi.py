"""Hugging Face's Text Generation Inference."""

from typing import Any, Final

from mercato.pyworker.worker import Benchmark, ModelLog, Route, Worker

TOKENS: Final = 100
"""The server's own default for `max_new_tokens`."""
LOADED: Final = ("Connected",)
PROMPT: Final = "Tell me at length about the sea, its tides, its creatures and those who sail it."


def tokens(payload: Any) -> float:
    """Tokens that a request may generate."""
    return float((payload.get("parameters") or {}).get("max_new_tokens") or TOKENS)


def worker(
    model: str, *, log: str | None = None, health: str | None = "/health", concurrency: int = 10
) -> Worker:
    """A worker for the server at `model`; without a log, ready when `health` answers 200."""
    trial = {"inputs": PROMPT, "parameters": {"max_new_tokens": 64}}
    benchmark = Benchmark(payloads=[trial], concurrency=concurrency)
    return Worker(
        model=model,
        log=None if log is None else ModelLog(file=log, loaded=LOADED),
        health=health,
        routes=(
            Route(path="/generate", workload=tokens, parallel=True, benchmark=benchmark),
            Route(path="/generate_stream", workload=tokens, parallel=True),
        ),
    )
