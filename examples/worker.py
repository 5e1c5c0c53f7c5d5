"""A worker of one's own in ten lines. Run it with: mercato-pyworker examples/worker.py."""

from mercato.pyworker.worker import Benchmark, Route, Worker


async def shout(payload, model):
    """Answer a text in capitals; `await model.post("/path", value)` would ask a model server."""
    return {"text": payload["text"].upper()}


benchmark = Benchmark(payloads=[{"text": "how fast am I?"}])
worker = Worker(routes=(Route(path="/shout", answer=shout, parallel=True, benchmark=benchmark),))
