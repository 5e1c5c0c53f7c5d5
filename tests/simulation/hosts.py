"""Machines of a simulated market: the agent's own plan and memory over a pretend engine, on a line.

Messages are lost, repeated, late, out of order; those under way die with their connection, as those
of a WebSocket do. An agent that has nothing new to say is not made to say it every five seconds:
what its unchanged reports would have written is written when somebody is about to look (`beat`).
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

import msgspec

from mercato.agent.engine import Contained
from mercato.agent.pretend import Behaviour
from mercato.agent.pretend_host import PretendHost
from mercato.control.db import Tx
from mercato.control.flows import observing
from mercato.market.errors import Refusal
from mercato.market.hardware import Hardware
from mercato.market.ids import MachineId
from mercato.wire.agent import SYNC_PERIOD_S, Desired, Observed
from tests.simulation.server import Server, Unavailable
from tests.simulation.world import SECOND, World

PERIOD_MS: Final = int(SYNC_PERIOD_S * SECOND)

LATENESS_MAX_MS: Final = 20 * SECOND
"""No message is under way for longer; a proof of life is believed to be as old as its arrival."""

LOST: Final = 0.02
REPEATED: Final = 0.02
LATE: Final = 0.03
"""How often what becomes of a message."""

_OBSERVED: Final = msgspec.json.Decoder(Observed)
_DESIRED: Final = msgspec.json.Decoder(Desired)


@dataclass(slots=True)
class Run:
    """A container ran, in truth: what a host's journal proves."""

    instance: int
    gpus: tuple[int, ...]
    from_ms: int
    to_ms: int | None = None


@dataclass
class Journal:
    """Every run of every container of a machine, as it truly was."""

    runs: list[Run] = field(default_factory=list)
    open: dict[int, Run] = field(default_factory=dict)

    def follow(self, containers: Iterable[Contained], now_ms: int) -> list[Run]:
        """Write down what began and ended; what began.

        No two that run at once may have a GPU in common.
        """
        began = []
        found = {one.instance: one for one in containers}
        truth = {number: one for number, one in found.items() if one.running}
        ended = {
            number: one.finished_at_ms
            for number, one in found.items()
            if one.finished_at_ms is not None
        }
        for instance, run in list(self.open.items()):
            one = truth.get(instance)
            if one is None or one.started_at_ms != run.from_ms:
                run.to_ms = now_ms if one is not None or instance not in ended else ended[instance]
                del self.open[instance]
        for instance, one in truth.items():
            if instance not in self.open:
                assert one.started_at_ms is not None
                run = Run(instance, one.gpus, one.started_at_ms)
                self.open[instance] = run
                self.runs.append(run)
                began.append(run)
        used = [gpu for run in self.open.values() for gpu in run.gpus]
        assert len(set(used)) == len(used), f"a GPU runs two containers: {self.open}"
        return began


class Machine:
    """One machine: its agent, its line to the server, its mishaps, its journal."""

    def __init__(
        self, world: World, server: Server, machine: MachineId, hardware: Hardware, usual: Behaviour
    ) -> None:
        """Begin with power, and without a line."""
        self.world = world
        self.server = server
        self.id = machine
        self.hardware = hardware
        self.journal = Journal()
        self.lied = False
        """Whether it ever lied: then nothing is proved by what it says."""
        self.off_market = False
        self.proofs: list[int] = []
        """When it proved to the server what runs on it; the server may not have written it."""
        self.on_begin: Callable[[Machine, Run], None] = lambda _machine, _run: None
        """Told of every container that begins to run."""
        self._usual = usual
        self._host = PretendHost(machine, hardware, self._usual)
        self._power = True
        self._network = True
        self._line = 0
        """Names the connection; 0 when there is none. What is under way on another is lost."""
        self._lines = 0
        self._arrived = 0
        """The line on which a report last arrived."""
        self._heard_ms = world.now_ms
        self._beaten_ms = 0
        self._told_generation = 0
        self._due: int | None = None
        self._speaks_at_ms: int | None = None

    # --- The line ---------------------------------------------------------------------------------

    def connect(self) -> None:
        """Open a line and say everything, or try again later."""
        if self._line or self.off_market or not self._power:
            return
        if not self._network or not self.server.up:
            self.world.within(SECOND, 30 * SECOND, self.connect)
            return
        self._lines += 1
        self._line = self._lines
        self.report()

    def cut(self) -> None:
        """Lose the line; the agent opens another as soon as it can."""
        if not self._line:
            return
        self._heard_ms = self._last_beat_ms()
        self._line = 0
        self.world.within(SECOND // 2, 10 * SECOND, self.connect)
        self.world.at(
            self.world.now_ms + self.server.house.rules.offline_after_ms + SECOND,
            self.server.silence,
        )

    def poke(self) -> None:
        """Hear a poke; several at once are one."""
        if self._line:
            self._speak_by(self.world.now_ms + self.world.luck.randint(5, 100))

    def _speak_by(self, when_ms: int) -> None:
        if self._speaks_at_ms is not None and self._speaks_at_ms <= when_ms:
            return
        self._speaks_at_ms = when_ms
        self.world.at(when_ms, lambda: self._speak(when_ms))

    def _speak(self, planned_ms: int) -> None:
        if self._speaks_at_ms == planned_ms:
            self.report()

    def report(self) -> None:
        """Say everything that is seen."""
        self._speaks_at_ms = None
        if not self._line:
            return
        observed = self._host.observe(self.world.now_ms)
        self._moved()
        line, frame = self._line, msgspec.json.encode(observed)
        self._send(lambda: self._arrive(line, frame))

    def _arrive(self, line: int, frame: bytes) -> None:
        """A report reaches the server."""
        if line != self._line or not self.server.up:
            return
        self._arrived = line
        observed = _OBSERVED.decode(frame)
        if observed.sees:
            self.proofs.append(self.world.now_ms)
        house = self.server.house
        try:
            desired = self.server.run(
                observing.observe, self.id, observed, self.world.now_ms, house=house
            )
        except Unavailable:
            self.cut()
        except Refusal as refusal:
            self.off_market = True
            self.world.note(f"machine {self.id}", refusal.code)
        else:
            self._beaten_ms = max(self._beaten_ms, self.world.now_ms)
            answer = msgspec.json.encode(desired)
            self._send(lambda: self._hear(line, answer))

    def _hear(self, line: int, frame: bytes) -> None:
        """What should be reaches the agent."""
        if line != self._line:
            return
        desired = _DESIRED.decode(frame)
        self._host.take(desired, self.world.now_ms)
        self._moved()
        if desired.generation > self._told_generation:
            self._told_generation = desired.generation
            self._speak_by(self.world.now_ms + self.world.luck.randint(1, PERIOD_MS))

    def _send(self, arrive: Callable[[], None]) -> None:
        """Send a message, and see what becomes of it."""
        if self.world.chance(LOST):
            self.world.note(f"machine {self.id}", "message lost")
            self._speak_by(self.world.now_ms + PERIOD_MS)
            return
        for _ in range(1 + self.world.chance(REPEATED)):
            late = self.world.chance(LATE)
            most_ms = LATENESS_MAX_MS if late else SECOND // 5
            self.world.within(5, most_ms, arrive)

    # --- Unchanged reports ------------------------------------------------------------------------

    def _last_beat_ms(self) -> int:
        """When it last reported, if it had nothing new to say; on a new line it has."""
        if not self._line or self._arrived != self._line:
            return self._heard_ms
        return self.world.now_ms - (self.world.now_ms + 997 * self.id) % PERIOD_MS

    def beat(self) -> tuple[int, int, bool] | None:
        """What its unchanged reports would have written by now: machine, when, whether it saw.

        None when that is written already.
        """
        last_ms = self._last_beat_ms()
        if last_ms <= self._beaten_ms or self.off_market:
            return None
        self._beaten_ms = last_ms
        sees = not self._host.containers.behaviour.deaf
        if sees:
            self.proofs.append(last_ms)
        return self.id, last_ms, sees

    # --- What happens on it -----------------------------------------------------------------------

    def _moved(self) -> None:
        """Take note of what began and ended, and wait for what is next."""
        self._follow()
        due_ms = min(self._dues(), default=None)
        if due_ms is not None and due_ms != self._due:
            self._due = due_ms
            self.world.at(due_ms, lambda: self._advance(due_ms))

    def _dues(self) -> Iterator[int]:
        """When something happens by itself: a step is done, a main process ends."""
        step_ms = self._host.next_due_ms()
        if step_ms is not None:
            yield step_ms
        lives_ms = self._host.containers.behaviour.exit_after_ms
        for one in self._host.containers.truth().values():
            if lives_ms is not None and one.running and not one.ssh:
                assert one.started_at_ms is not None
                yield one.started_at_ms + lives_ms

    def _advance(self, planned_ms: int | None = None) -> None:
        if planned_ms is not None and planned_ms != self._due:
            return
        self._due = None
        if not self._power:
            return
        self._host.advance(self.world.now_ms)
        self._moved()
        self._speak_by(self.world.now_ms + self.world.luck.randint(50, 500))

    def _follow(self) -> None:
        truth = self._host.containers.truth().values()
        for run in self.journal.follow(truth, self.world.now_ms):
            self.on_begin(self, run)

    def containers(self) -> Iterable[int]:
        """The instances of which there is something in truth."""
        return self._host.containers.truth().keys()

    def running(self) -> dict[int, tuple[int, ...]]:
        """What runs in truth, on which GPUs."""
        return {run.instance: run.gpus for run in self.journal.open.values()}

    # --- Mishaps ----------------------------------------------------------------------------------

    def kill_agent(self) -> None:
        """End the agent as kill -9 does; what runs goes on, and it is started again."""
        if self._power:
            self.cut()
            self._end_agent()
            self._moved()

    def _end_agent(self) -> None:
        self._host.kill_agent()
        self._told_generation = 0

    def cut_power(self, for_ms: int) -> None:
        """End everything that runs."""
        if not self._power:
            return
        self.cut()
        self._power = False
        self._host.containers.power_cut(self.world.now_ms)
        self._end_agent()
        self._follow()
        self.world.at(self.world.now_ms + for_ms, self._power_back)

    def _power_back(self) -> None:
        self._power = True
        self._advance()
        self.connect()

    def cut_network(self, for_ms: int) -> None:
        """Be out of reach; what runs goes on."""
        self._network = False
        self.cut()
        self.world.at(self.world.now_ms + for_ms, self._network_back)

    def _network_back(self) -> None:
        self._network = True
        self.connect()

    def heal(self) -> None:
        """Be well: with power, in reach, with an engine that hears and says the truth."""
        if not self._power:
            self._power_back()
        self._network = True
        self._set(self._usual)
        self.connect()

    def behave(self, for_ms: int, **oddly: bool) -> None:
        """Behave oddly for a while: deaf, full, lying."""
        self.lied = self.lied or oddly.get("lies", False)
        self._set(msgspec.structs.replace(self._usual, **oddly))
        self.world.at(self.world.now_ms + for_ms, lambda: self._set(self._usual))

    def _set(self, behaviour: Behaviour) -> None:
        self._host.containers.behaviour = behaviour
        self._advance()


def beat(tx: Tx, beats: list[tuple[int, int, bool]]) -> None:
    """Write what unchanged reports say: when each machine was last heard, and could see."""
    told = zip(*((machine, at_ms, int(sees)) for machine, at_ms, sees in beats), strict=True)
    tx.run(
        "update machines m set seen_at_ms = greatest(m.seen_at_ms, b.at_ms), proven_at_ms ="
        " case when b.sees then greatest(m.proven_at_ms, b.at_ms) else m.proven_at_ms end"
        " from unnest(%s::bigint[], %s::bigint[], %s::boolean[]) b (id, at_ms, sees)"
        " where m.id = b.id and m.offline_since_ms is null",
        *(f"{{{','.join(map(str, column))}}}" for column in told),  # quicker than lists
    )
