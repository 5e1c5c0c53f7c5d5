"""Servers that speak OpenAI's API: vLLM, SGLang, llama.cpp, and many more."""

from typing import Any, Final

from mercato.pyworker.worker import Benchmark, ModelLog, Route, Worker

TOKENS: Final = 256
"""Counted for a completion that does not say how long it may be."""
CHARS_PER_TOKEN: Final = 4
LOADED: Final = ("Application startup complete", "server is listening", "HTTP server listening")
"""What vLLM, SGLang and llama.cpp write when they are ready."""
PROMPT: Final = "Tell me at length about the sea, its tides, its creatures and those who sail it."


def tokens(payload: Any) -> float:
    """Tokens that a completion may generate."""
    asked = payload.get("max_completion_tokens") or payload.get("max_tokens") or TOKENS
    return float(asked) * float(payload.get("n") or 1)


def tokens_read(payload: Any) -> float:
    """Tokens that are to be embedded, at four characters a token."""
    given = payload["input"]
    texts = [given] if isinstance(given, str) else given
    return sum(max(1.0, len(text) / CHARS_PER_TOKEN) for text in texts)


def worker(
    model: str,
    *,
    log: str | None = None,
    health: str | None = "/health",
    name: str = "",
    concurrency: int = 10,
    tokens_each: int = 64,
    rounds: int = 8,
) -> Worker:
    """A worker for the server at `model`; every request asks for the model called `name`, if given.

    Without a log the server is ready when `health` answers 200. The benchmark sends `concurrency`
    completions of `tokens_each` tokens at once, `rounds` times.
    """
    trial = {"prompt": PROMPT, "max_tokens": tokens_each}
    over = {"model": name} if name else {}
    benchmark = Benchmark(payloads=[trial], concurrency=concurrency, rounds=rounds)
    return Worker(
        model=model,
        log=None if log is None else ModelLog(file=log, loaded=LOADED),
        health=health,
        routes=(
            Route(
                path="/v1/completions",
                workload=tokens,
                parallel=True,
                over=over,
                benchmark=benchmark,
            ),
            Route(path="/v1/chat/completions", workload=tokens, parallel=True, over=over),
            Route(path="/v1/embeddings", workload=tokens_read, parallel=True, over=over),
        ),
    )
