"""An engine without a market: endpoints and workers as a file names them, all in this process.

It is what `mercato engine --standalone FILE` runs on, a router over workers of one's own, and what
the engine's tests run on. It keeps leases and memories as the real market does, for any number of
engines in one process.
"""

import hashlib
import itertools
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from mercato.engine.clock import Clock
from mercato.market.contract import Kind as Contract
from mercato.market.ids import AccountId, ContractId, MachineId
from mercato.market.instance import State as Instance
from mercato.market.money import NanoUsdPerHour
from mercato.serverless.decision import Decision, Kind
from mercato.serverless.endpoint import Endpoint, EndpointId, Group, GroupId
from mercato.serverless.recruit import Candidate
from mercato.serverless.sharding import owner
from mercato.wire.fleet import DONE, Definition, Fleet, Minute, Outcome, Ownership, WorkerFact
from mercato.wire.worker import shared_secret

LEASE_S: Final = 3.5
ACCOUNT: Final = AccountId(1)


class BadFile(Exception):  # noqa: N818 - one line for the operator
    """The file cannot be understood; the message says where."""


class _WorkerRow(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    id: int
    token: str
    kind: str = "1x worker"
    address: str = ""
    """Where it must be; empty: anywhere."""


class _EndpointRow(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    name: str
    key: str
    workers: list[_WorkerRow] = []
    slots: int = 0
    parameters: dict[str, Any] = {}


class _File(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    account_key: str = ""
    signing_key: str = ""
    """A file with the private key; made when it is not there. Empty: a new one each time."""
    endpoint: list[_EndpointRow]


class _Lease(msgspec.Struct):
    engine: str
    fence: int
    until_s: float


class StandaloneMarket:
    """A market in memory. What is rented is a fact that its owner adds or ends by hand."""

    def __init__(self, clock: Clock) -> None:
        """An empty market."""
        self._clock = clock
        self.endpoints: dict[EndpointId, Definition] = {}
        self.workers: dict[ContractId, WorkerFact] = {}
        self.offers: dict[GroupId, list[Candidate]] = {}
        self.accounts: dict[str, AccountId] = {}
        self.carried_out: list[tuple[EndpointId, Decision, int, str]] = []
        """Endpoint, decision, fence and outcome of everything that was asked of this market."""
        self.rebooted: list[ContractId] = []
        self.traffic: dict[tuple[EndpointId, int, int], Minute] = {}
        """What was recorded, by endpoint, minute and fence."""
        self.reachable = True
        self.signing_file: Path | None = None
        self._keys: dict[str, str] = {}
        self._engines: dict[str, tuple[str, float]] = {}
        self._leases: dict[EndpointId, _Lease] = {}
        self._memories: dict[EndpointId, bytes] = {}
        self._numbers = itertools.count(1)

    # How it is furnished.

    def add_endpoint(
        self, name: str, key: str, parameters: Endpoint | None = None, *, slots: int = 0
    ) -> Definition:
        """An endpoint with one worker group."""
        number = next(self._numbers)
        group = Group(id=GroupId(number), slots=slots)
        given = parameters or Endpoint()
        made = Definition(
            id=EndpointId(number),
            account=ACCOUNT,
            name=name,
            key_hash=hashlib.sha256(key.encode()).digest(),
            parameters=msgspec.structs.replace(given, id=EndpointId(number)),
            groups=(group,),
        )
        self.endpoints[made.id] = made
        return made

    def add_worker(self, endpoint: Definition, worker: int, token: str, **known: Any) -> WorkerFact:
        """A worker of an endpoint, which runs; `known` is what else the market says of it."""
        fact = WorkerFact(
            id=ContractId(worker),
            endpoint=endpoint.id,
            group=endpoint.groups[0].id,
            machine=MachineId(worker),
            version=0,
            token_hash=shared_secret(token),
            kind="1x worker",
            contract=Contract.ON_DEMAND,
            gpu_price=NanoUsdPerHour(1),
            on_demand_price=NanoUsdPerHour(1),
            storage_price=NanoUsdPerHour(0),
            reliability=1.0,
            dlperf=0.0,
            state=Instance.RUNNING,
            started_at_ms=self._clock.now_ms(),
            created_at_ms=self._clock.now_ms(),
            address="",
            message="",
        )
        made = msgspec.structs.replace(fact, **known)
        self.workers[made.id] = made
        return made

    def change_worker(self, worker: int, **known: Any) -> None:
        """The market knows something else of a worker."""
        name = ContractId(worker)
        self.workers[name] = msgspec.structs.replace(self.workers[name], **known)

    def end_worker(self, worker: int) -> None:
        """A worker is gone."""
        self.workers.pop(ContractId(worker), None)

    # The port.

    def _reach(self) -> None:
        if not self.reachable:
            raise ConnectionError("the market is not reachable")

    async def fleet(self) -> Fleet:
        """Every endpoint and every worker at this moment."""
        self._reach()
        return Fleet(endpoints=tuple(self.endpoints.values()), workers=tuple(self.workers.values()))

    async def candidates(self, group: GroupId) -> Sequence[Candidate]:
        """What could be rented for a group now."""
        self._reach()
        return list(self.offers.get(group, ()))

    async def owner_of(self, key: str) -> int | None:
        """The account whose key this is; None when it is nobody's."""
        self._reach()
        return self.accounts.get(key)

    async def signing_key(self, name: str, make: Callable[[], str]) -> str:
        """A private key as text, made by `make` when there is none of that name."""
        self._reach()
        if name not in self._keys:
            self._keys[name] = _from_file(self.signing_file, make)
        return self._keys[name]

    async def stand(self, engine: str, address: str) -> Ownership:
        """Say that this engine is there; keep or take the endpoints due to it."""
        self._reach()
        now_s = self._clock.now_s()
        self._engines[engine] = (address, now_s + LEASE_S)
        living = {name for name, (_, until_s) in self._engines.items() if until_s > now_s}
        mine: dict[EndpointId, int] = {}
        others: dict[EndpointId, str] = {}
        for endpoint in self.endpoints:
            lease = self._leases.setdefault(endpoint, _Lease("", 0, 0.0))
            due = owner(endpoint, living)
            if lease.engine == engine:
                # What is due to another is not held any longer than it takes to say so.
                lease.until_s = now_s + LEASE_S if due == engine else now_s
            elif lease.until_s <= now_s and due == engine:
                lease.engine, lease.fence, lease.until_s = engine, lease.fence + 1, now_s + LEASE_S
            if lease.engine == engine and lease.until_s > now_s:
                mine[endpoint] = lease.fence
            elif lease.until_s > now_s:
                others[endpoint] = self._engines[lease.engine][0]
        return Ownership(mine=mine, others=others)

    async def carry_out(
        self, endpoint: EndpointId, group: GroupId, decision: Decision, fence: int
    ) -> Outcome:
        """Do what was decided, as far as there is anything to do; or why it was not."""
        self._reach()
        del group
        lease = self._leases.get(endpoint)
        if lease is not None and fence < lease.fence:
            outcome = Outcome(text="another engine has this endpoint", of_account=True)
        else:
            outcome = self._do(decision)
        self.carried_out.append((endpoint, decision, fence, outcome.text))
        return outcome

    def _do(self, decision: Decision) -> Outcome:
        if decision.kind is Kind.RENT:
            return self.rent(decision)
        worker = decision.worker
        if worker is None or worker not in self.workers:
            return Outcome(text="there is no such worker")
        match decision.kind:
            case Kind.DESTROY:
                self.end_worker(worker)
            case Kind.SLEEP:
                self.change_worker(worker, state=Instance.STOPPED)
            case Kind.WAKE:
                self.change_worker(worker, state=Instance.RUNNING)
            case Kind.UPDATE:
                group = self.endpoints[self.workers[worker].endpoint].groups[0]
                self.change_worker(worker, version=group.version)
        return Outcome()

    def rent(self, decision: Decision) -> Outcome:
        """Nothing is for rent here; a market in a test says otherwise."""
        del decision
        return Outcome(text="this engine has no market to rent from")

    async def reboot(self, worker: ContractId, fence: int) -> str:
        """Restart a worker that fails: whoever runs it sees to that."""
        self._reach()
        del fence
        self.rebooted.append(worker)
        return DONE

    async def renew(self, account: int, group: GroupId, *, cancel: bool) -> int:
        """Raise the version of a group, or count all its workers as of the present one."""
        self._reach()
        for definition in self.endpoints.values():
            for one in definition.groups:
                if one.id == group and definition.account == account:
                    return self._renew(definition, one, cancel=cancel)
        raise LookupError(group)

    def _renew(self, definition: Definition, group: Group, *, cancel: bool) -> int:
        if cancel:
            old = [
                one.id
                for one in self.workers.values()
                if one.group == group.id and one.version < group.version
            ]
            for worker in old:
                self.change_worker(worker, version=group.version)
            return len(old)
        newer = msgspec.structs.replace(group, version=group.version + 1)
        groups = tuple(newer if one.id == group.id else one for one in definition.groups)
        self.endpoints[definition.id] = msgspec.structs.replace(definition, groups=groups)
        return sum(worker.group == group.id for worker in self.workers.values())

    async def keep(self, endpoint: EndpointId, memory: bytes, fence: int) -> None:
        """Keep what an engine should know of an endpoint after its own death."""
        self._reach()
        lease = self._leases.get(endpoint)
        if lease is None or fence >= lease.fence:
            self._memories[endpoint] = memory

    async def kept(self, endpoint: EndpointId) -> bytes | None:
        """What was kept last."""
        self._reach()
        return self._memories.get(endpoint)

    async def record(self, endpoint: EndpointId, minutes: Sequence[Minute], fence: int) -> None:
        """Keep how much was asked; the same minute under the same fence is kept once."""
        self._reach()
        for one in minutes:
            self.traffic.setdefault((endpoint, one.at_s, fence), one)


def _from_file(file: Path | None, make: Callable[[], str]) -> str:
    if file is None:
        return make()
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(make())
    return file.read_text()


def read(file: Path, clock: Clock) -> StandaloneMarket:
    """The market that a file describes.

    Raises:
        BadFile: when it cannot be read or understood.
    """
    try:
        said = msgspec.convert(tomllib.loads(file.read_text()), _File)
        market = StandaloneMarket(clock)
        if said.account_key:
            market.accounts[said.account_key] = ACCOUNT
        if said.signing_key:
            market.signing_file = file.parent / said.signing_key
        for row in said.endpoint:
            parameters = msgspec.convert(row.parameters, Endpoint)
            made = market.add_endpoint(row.name, row.key, parameters, slots=row.slots)
            for worker in row.workers:
                market.add_worker(
                    made, worker.id, worker.token, kind=worker.kind, address=worker.address
                )
    except (OSError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise BadFile(f"{file} cannot be used: {error}") from error
    return market
