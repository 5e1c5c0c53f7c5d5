"""A small market to play with: accounts, a machine, a listing, and an agent that says what is."""

from dataclasses import dataclass, field
from typing import Any

import msgspec
from cryptography.fernet import Fernet

from mercato.control.db import Database, Tx
from mercato.control.flows import hosting, metering, observing, paying, renting
from mercato.control.flows.house import House, Rules
from mercato.control.flows.renting import Minted, RentRequest, Signed
from mercato.control.secrets_box import SecretsBox
from mercato.control.store import accounts, holds, instances, machines, purses, transfers
from mercato.market.hardware import Cpu, Disk, Gpu, GpuModel, Hardware
from mercato.market.ids import AccountId, ContractId, MachineId, OfferId
from mercato.market.instance import Actual
from mercato.market.launch import Launch
from mercato.market.listing import Prices
from mercato.market.money import NanoUsdPerGb, NanoUsdPerGbMonth, NanoUsdPerHour, nano
from mercato.wire.agent import Desired, Observed, ObservedInstance

T0 = 1_700_000_000_000
HOUR = 3_600_000
MINUTE = 60_000

PRICES = Prices(
    gpu=NanoUsdPerHour(nano("0.36")),
    disk=NanoUsdPerGbMonth(nano("0.072")),
    up=NanoUsdPerGb(nano("0.01")),
    down=NanoUsdPerGb(nano("0.02")),
    bid_floor=NanoUsdPerHour(nano("0.10")),
)


def hardware(gpus: int = 4, *, disk_gb: float = 4_000.0) -> Hardware:
    """A machine with pretend GPUs."""
    return Hardware(
        gpu_model=GpuModel(name="RTX 4090", ram_mb=24_564),
        gpus=tuple(Gpu(index=index, uuid=f"PRETEND-{index}") for index in range(gpus)),
        cpu=Cpu(name="Pretend", cores=32, ram_mb=128_000),
        disk=Disk(size_gb=disk_gb),
        simulated=True,
    )


@dataclass
class Agent:
    """One machine's agent, obedient and quick: whatever should be, is, at the next report."""

    market: "Market"
    machine: MachineId
    hardware: Hardware
    generation: int = 0
    desired: Desired | None = None
    actual: dict[int, ObservedInstance] = field(default_factory=dict)

    def report(self, now_ms: int, **changes: Any) -> Desired:
        """Say what is; hear what should be."""
        self.generation += 1
        observed = Observed(
            agent="test",
            boot="boot",
            generation=self.generation,
            desired_generation=self.desired.generation if self.desired else 0,
            sees=changes.pop("sees", True),
            hardware=changes.pop("hardware", self.hardware),
            instances=tuple(self.actual.values()),
        )
        assert not changes, changes
        self.desired = self.market.db.run_now(
            observing.observe, self.machine, observed, now_ms, house=self.market.house
        )
        return self.desired

    def moved(self, contract: int, now_ms: int, *, up: int = 0, down: int = 0) -> None:
        """Report that an instance sent and received more bytes; nothing when it is not there."""
        was = self.actual.get(contract)
        if was is not None:
            self.actual[contract] = msgspec.structs.replace(
                was, up_bytes=was.up_bytes + up, down_bytes=was.down_bytes + down
            )
            self.report(now_ms)

    def obey(self, now_ms: int) -> None:
        """Do at once what should be done; it is reported next time."""
        assert self.desired is not None
        before, self.actual = self.actual, {}
        for one in self.desired.instances:
            was = before.get(one.id)
            if one.running:
                same = was is not None and (was.actual, was.revision, was.boots) == (
                    Actual.RUNNING,
                    one.revision,
                    one.boots,
                )
                started_at_ms = was.started_at_ms if was and same else now_ms
                self.actual[one.id] = ObservedInstance(
                    id=one.id,
                    revision=one.revision,
                    boots=one.boots,
                    actual=Actual.RUNNING,
                    started_at_ms=started_at_ms,
                    ports={"22/tcp": 40_000 + one.id},
                    up_bytes=was.up_bytes if was else 0,
                    down_bytes=was.down_bytes if was else 0,
                )
            elif was is not None:
                self.actual[one.id] = ObservedInstance(
                    id=one.id,
                    revision=was.revision,
                    boots=was.boots,
                    actual=Actual.STOPPED,
                    up_bytes=was.up_bytes,
                    down_bytes=was.down_bytes,
                )

    def settle(self, now_ms: int) -> Desired:
        """Report, obey, report, so that everything is as it should be."""
        for _ in range(3):
            self.report(now_ms)
            self.obey(now_ms)
        return self.report(now_ms)


@dataclass
class Market:
    """A market in one database."""

    db: Database
    house: House
    host: AccountId
    renter: AccountId
    minted: int = 0

    def account(self, name: str, credit: str = "100") -> AccountId:
        """Another account, with credit in dollars."""

        def make(tx: Tx) -> AccountId:
            account = accounts.create(tx, email=f"{name}@example.org", username=name, now_ms=T0)
            assert account is not None
            if nano(credit) > 0:
                paying.add_credit(tx, account, nano(credit), f"test:{name}", T0)
            return account

        return self.db.run_now(make)

    def machine(self, gpus: int = 4, **asking: Any) -> Agent:
        """A machine that joined, was heard, and is listed; `prices` are those unlike the usual."""
        prices = msgspec.structs.replace(PRICES, **asking.pop("prices", {}))
        self.minted += 1
        token, parts = f"token-{self.minted}", hardware(gpus)
        self.db.run_now(hosting.issue_join_token, self.host, token, T0)
        machine = self.db.run_now(hosting.join, token, parts, f"machine-key-{token}", T0)
        agent = Agent(self, machine, parts)
        agent.report(T0)
        self.db.run_now(
            hosting.list_machine, self.host, machine, hosting.Asking(prices=prices, **asking), T0
        )
        return agent

    def offer(self, agent: Agent, node: int) -> OfferId:
        """The offer of a node of a machine's tree of halves."""
        row = self.db.run_now(
            lambda tx: tx.one(
                "select id from listings where machine_id = %s and closed_at_ms is null",
                agent.machine,
            )
        )
        assert row is not None
        return OfferId(row["id"] * 256 + node)

    def rent(
        self, offer: OfferId, now_ms: int = T0, renter: AccountId | None = None, **asked: Any
    ) -> Signed:
        """Rent an offer."""
        return self.db.run_now(
            renting.rent,
            renter or self.renter,
            offer,
            request(**asked),
            now_ms,
            self.mint(),
            house=self.house,
        )

    def mint(self) -> Minted:
        """Secrets for one rental."""
        self.minted += 1
        return Minted(instance_key=f"key-{self.minted}", jupyter_token=f"token-{self.minted}")

    def spendable(self, now_ms: int, account: AccountId | None = None) -> int:
        """What an account can spend."""
        return self.db.run_now(metering.balance, account or self.renter, now_ms).spendable

    def instance(self, contract: ContractId) -> instances.Instance:
        """A stored instance."""
        found = self.db.run_now(instances.get, contract)
        assert found is not None
        return found

    def held(self, machine: MachineId) -> dict[int, ContractId]:
        """Who holds which GPU."""
        return self.db.run_now(holds.on, machine)

    def audit(self) -> None:
        """What must always hold, whatever happened."""
        self.db.run_now(audit)


def request(**asked: Any) -> RentRequest:
    """A modest request."""
    asked.setdefault("launch", Launch(image="debian", env={"SECRET": "hush"}))
    asked.setdefault("disk_mb", 10_000)
    return RentRequest(**asked)


def audit(tx: Tx) -> None:
    """Books sum to zero, purses equal their transfers and are above their floors, no orphans."""
    sums = transfers.sums(tx)
    assert sum(sums.values()) == 0
    purse_sums = {name: sums.get(name, 0) for name in purses.everything(tx)}
    assert purses.everything(tx) == purse_sums
    assert all(amount >= 0 for amount in purse_sums.values())
    assert holds.orphans(tx) == []
    for machine in machines.everyone(tx):
        held = holds.on(tx, machine.id)
        rows = tx.all(
            "select c.id, coalesce(i.gpus, c.gpus) as gpus from contracts c"
            " left join instances i on i.id = c.id where c.machine_id = %s",
            machine.id,
        )
        gpus = {row["id"]: row["gpus"] for row in rows}
        assert all(gpu in gpus[contract] for gpu, contract in held.items())
    posted = tx.one("select coalesce(sum(posted), 0)::bigint as total from segments")
    charged = tx.one(
        "select coalesce(sum(amount), 0)::bigint as total from transfers"
        " where cause like 'segment:%%' and kind in ('charge', 'fee')",
    )
    assert posted == charged


def open_market(db: Database, **rules: Any) -> Market:
    """A market with a host and a renter who has 100 dollars."""
    house = House(SecretsBox(Fernet.generate_key()), Rules(**rules))
    market = Market(db, house, AccountId(0), AccountId(0))
    market.host = market.account("host", "0")
    market.renter = market.account("renter")
    return market
