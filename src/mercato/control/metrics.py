"""What Prometheus reads: transactions, loops, agents, instances by state."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from mercato.control.db import Database
from mercato.control.loops.loop import Loop


class _Market(Collector):
    """Reads everything at the moment of a scrape: nothing is counted twice or forgotten."""

    def __init__(
        self,
        db: Database,
        loops: Sequence[Loop],
        agents: Callable[[], int],
        instances: Callable[[], Mapping[str, int]],
    ) -> None:
        self._db = db
        self._loops = loops
        self._agents = agents
        self._instances = instances

    def collect(self) -> Iterator[Metric]:
        tally = self._db.tally
        committed = CounterMetricFamily("mercato_transactions", "Transactions committed.")
        committed.add_metric([], tally.committed)
        yield committed
        retried = CounterMetricFamily("mercato_transaction_retries", "Races lost and run again.")
        retried.add_metric([], tally.retried)
        yield retried
        runs = CounterMetricFamily("mercato_loop_runs", "Runs of a loop.", labels=["loop"])
        failures = CounterMetricFamily(
            "mercato_loop_failures", "Failed runs of a loop.", labels=["loop"]
        )
        for loop in self._loops:
            runs.add_metric([loop.name], loop.status.runs)
            failures.add_metric([loop.name], loop.status.failures)
        yield runs
        yield failures
        agents = GaugeMetricFamily("mercato_agents", "Agents connected to this server.")
        agents.add_metric([], self._agents())
        yield agents
        states = GaugeMetricFamily("mercato_instances", "Instances by state.", labels=["state"])
        for state, count in self._instances().items():
            states.add_metric([state], count)
        yield states


def registry(
    db: Database,
    loops: Sequence[Loop],
    agents: Callable[[], int],
    instances: Callable[[], Mapping[str, int]],
) -> CollectorRegistry:
    """A registry that reads these parts at every scrape."""
    made = CollectorRegistry()
    made.register(_Market(db, loops, agents, instances))
    return made
