"""A simulated market: who and what is in it, put together."""

import base64
from collections.abc import Callable
from typing import Concatenate, Final, ParamSpec, TypeVar

from mercato.agent.pretend import Behaviour
from mercato.control.db import Tx
from mercato.control.flows import hosting, paying
from mercato.control.flows.house import House, Rules
from mercato.control.flows.renting import Minted
from mercato.control.secrets_box import SecretsBox
from mercato.control.store import accounts
from mercato.market.errors import Refusal
from mercato.market.hardware import Cpu, Disk, Gpu, GpuModel, Hardware
from mercato.market.ids import AccountId, ContractId, MachineId
from mercato.market.listing import Listing, Prices
from mercato.market.money import NanoUsdPerGb, NanoUsdPerGbMonth, NanoUsdPerHour, nano
from tests.control.fragile import Fragile
from tests.simulation.hosts import Machine, beat
from tests.simulation.server import Server, Unavailable
from tests.simulation.world import DAY, HOUR, World

P = ParamSpec("P")
T = TypeVar("T")

GPUS: Final = (1, 2, 2, 3, 4, 4, 6, 8, 8, 8)
"""How many a machine has: one of these."""

HOSTS: Final = 8
RENTERS: Final = 20
CREDIT: Final = ("0.50", "3", "20", "200", "2000")
"""Dollars that a renter begins with: one of these."""


class NothingToDo(Exception):  # noqa: N818 - not a fault
    """What a deed needs is not there."""


class Market:
    """Everybody and everything."""

    def __init__(self, world: World, db: Fragile, machines: int) -> None:
        """Open the accounts; have the machines join and be listed."""
        self.world = world
        key = base64.urlsafe_b64encode(world.luck.randbytes(32))
        rules = Rules(
            platform_fee_ppm=world.luck.choice((0, 30_000, 200_000)),
            offline_after_ms=world.luck.choice((90_000, 300_000)),
        )
        self.house = House(SecretsBox(key), rules)
        self.server = Server(world, db, self.house)
        self.machines: dict[MachineId, Machine] = {}
        self.host_of: dict[MachineId, AccountId] = {}
        self.listings: dict[MachineId, Listing] = {}
        """What is on sale as far as renters know: it may be out of date."""
        self.bids: list[tuple[AccountId, ContractId]] = []
        """Who rented what by bid."""
        self._names = 0
        self.hosts = [self._account(f"host-{number}") for number in range(HOSTS)]
        self.renters = [self._account(f"renter-{number}") for number in range(RENTERS)]
        for renter in self.renters:
            dollars = world.luck.choice(CREDIT)
            db.run_now(paying.add_credit, renter, nano(dollars), self.name("wire"), world.now_ms)
        for _ in range(machines):
            self._machine(world.luck.choice(self.hosts))
        self.server.on_poke = lambda machine: self.machines[MachineId(machine)].poke()
        world.hear = self.server.heard
        self.server.on_death = self._cut_all
        self.server.before_loops = self.beat

    def name(self, kind: str) -> str:
        """A name that was not given before."""
        self._names += 1
        return f"{kind}-{self._names}"

    # --- Doing ------------------------------------------------------------------------------------

    def do(self, flow: Callable[Concatenate[Tx, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Ask the server for something."""
        return self.server.run(flow, *args, **kwargs)

    def attempt(self, what: str, deed: Callable[[], object]) -> None:
        """Do something, whatever comes of it, and write that down."""
        try:
            came = deed()
        except Refusal as refusal:
            outcome = refusal.code
        except Unavailable:
            outcome = "unavailable"
        except NothingToDo:
            return
        else:
            outcome = "done" if came is None else f"done {came}"
        self.world.note(what, outcome)

    def beat(self, *machines: MachineId) -> None:
        """Have the unchanged reports of some machines, or all, written up to now."""
        asked = [self.machines[one] for one in machines] or list(self.machines.values())
        beats = [found for one in asked if (found := one.beat()) is not None]
        if beats and self.server.up:
            self.server.db.run_now(beat, beats)

    def minted(self) -> Minted:
        """Secrets for one rental."""
        return Minted(instance_key=self.name("key"), jupyter_token=self.name("token"))

    # --- Setting up -------------------------------------------------------------------------------

    def _account(self, name: str) -> AccountId:
        made = self.server.db.run_now(
            accounts.create, email=f"{name}@example.org", username=name, now_ms=self.world.now_ms
        )
        assert made is not None
        return made

    def _machine(self, host: AccountId) -> None:
        world, db = self.world, self.server.db
        hardware = _hardware(world.luck.choice(GPUS))
        token = self.name("token")
        db.run_now(hosting.issue_join_token, host, token, world.now_ms)
        machine = db.run_now(hosting.join, token, hardware, self.name("key"), world.now_ms)
        usual = Behaviour(
            pull_ms=world.luck.choice((400, 3_000, 40_000, 400_000)),
            start_ms=world.luck.choice((100, 2_000)),
            stop_ms=world.luck.choice((100, 3_000, 20_000)),
            exit_after_ms=5 * HOUR,
        )
        self.host_of[machine] = host
        self.machines[machine] = Machine(world, self.server, machine, hardware, usual)
        self.listings[machine] = db.run_now(
            hosting.list_machine, host, machine, self.asking(), world.now_ms, self.house.rules
        )
        self.machines[machine].connect()

    def asking(self) -> hosting.Asking:
        """What a host might ask."""
        luck = self.world.luck
        gpu = luck.uniform(0.05, 2.0)
        prices = Prices(
            gpu=NanoUsdPerHour(nano(f"{gpu:.9f}")),
            disk=NanoUsdPerGbMonth(nano(f"{luck.uniform(0.01, 0.3):.9f}")),
            up=NanoUsdPerGb(nano(luck.choice(("0", "0.013")))),
            down=NanoUsdPerGb(nano(luck.choice(("0", "0.017")))),
            bid_floor=NanoUsdPerHour(nano(f"{gpu * luck.uniform(0.1, 1.0):.9f}")),
        )
        ends = luck.random() < 0.5
        return hosting.Asking(
            prices=prices,
            min_chunk=1,
            end_at_ms=self.world.now_ms + luck.randint(DAY // 8, 9 * DAY) if ends else None,
        )

    def _cut_all(self) -> None:
        for machine in self.machines.values():
            machine.cut()


def _hardware(gpus: int) -> Hardware:
    return Hardware(
        gpu_model=GpuModel(name="RTX 4090", ram_mb=24_564),
        gpus=tuple(Gpu(index=index, uuid=f"PRETEND-{index}") for index in range(gpus)),
        cpu=Cpu(name="Pretend", cores=32, ram_mb=128_000),
        disk=Disk(size_gb=1_000.0),
        simulated=True,
    )
