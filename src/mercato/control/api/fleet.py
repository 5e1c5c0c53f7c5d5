"""What the Serverless Engine asks of the market: its endpoints, offers for workers, its decisions.

The engine decides in memory (serverless/); what it decided is carried out here by the same flows as
anyone's rentals, and written down with its reason.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import msgspec

from mercato.control.api import rolling
from mercato.control.api.auth import KeyRing, new_secret
from mercato.control.api.launch_args import (
    LaunchArgs,
    parse_launch_args,
    worker_disk_gb,
    worker_launch,
    worker_query,
)
from mercato.control.api.offer_book import OfferBook
from mercato.control.api.shapes import UNPROVEN_RELIABILITY
from mercato.control.blobs.blobs import Blobs, BlobsTrouble
from mercato.control.clock import Clock
from mercato.control.db import AWAY, Database, Tx
from mercato.control.flows import deploying, owning, serving, templating
from mercato.control.flows.house import House
from mercato.control.flows.renting import Minted, RentRequest
from mercato.control.store import (
    decisions,
    endpoints,
    leases,
    traffic,
    worker_groups,
    workers,
)
from mercato.control.store.decisions import StoredDecision
from mercato.control.store.templates import StoredTemplate
from mercato.control.store.worker_groups import StoredGroup
from mercato.control.store.workers import StoredWorker
from mercato.market import errors
from mercato.market.access import Permission
from mercato.market.contract import Kind as Contract
from mercato.market.ids import AccountId, ContractId, MachineId, OfferId
from mercato.market.launch import Launch, PortWish
from mercato.market.money import NanoUsdPerGbMonth, NanoUsdPerHour, nano, storage_rate, with_fee
from mercato.serverless.decision import Decision
from mercato.serverless.decision import Kind as Doing
from mercato.serverless.endpoint import EndpointId, Group, GroupId
from mercato.serverless.recruit import Candidate
from mercato.wire.fleet import (
    DONE,
    Definition,
    Fleet,
    Minute,
    NothingToRent,
    Outcome,
    Ownership,
    WorkerFact,
)

P = ParamSpec("P")
T = TypeVar("T")

CANDIDATES_MAX: Final = 64
"""Offers that the engine is shown for each group: the cheapest are enough to choose from."""

REFUSALS_COMPARED: Final = 20

_OF_PRICE: Final = (errors.InsufficientCredit, errors.SpendingLimitReached)
"""Refusals of what costs so much: something cheaper may be had."""
_OF_ACCOUNT: Final = (
    errors.TooMany,
    errors.NotPermitted,
    errors.NotFound,
    errors.Conflict,
)
"""Refusals of an account, an endpoint or a group, or of an engine that does not own it any more."""

Deed = Callable[[Tx], ContractId | None]
"""What is done in one transaction; the worker, when it is a new one."""


@dataclass(frozen=True, slots=True)
class Recruiter:
    """The market as the engine knows it."""

    db: Database
    clock: Clock
    house: House
    offers: OfferBook
    keys: KeyRing
    blobs: Blobs
    engine_url: str
    """Where workers send their reports."""

    async def _ask(
        self, flow: Callable[Concatenate[Tx, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run a flow; a database that cannot be reached is a lost connection to the engine."""
        try:
            return await self.db.run(flow, *args, **kwargs)
        except AWAY as lost:
            raise ConnectionError(f"the market's database cannot be reached: {lost}") from lost

    async def fleet(self) -> Fleet:
        """Every endpoint and every worker at this moment."""
        return await self._ask(_fleet)

    async def candidates(self, group: GroupId) -> list[Candidate]:
        """What could be rented for a group now, best offer first.

        Raises:
            NothingToRent: when the group, or its template, is not such that a worker can be made.
        """
        try:
            return await self._candidates(group)
        except (errors.Refusal, ValueError) as refusal:
            raise NothingToRent(str(refusal)) from refusal

    async def _candidates(self, group: GroupId) -> list[Candidate]:
        stored, template = await self._ask(_found, group)
        args = parse_launch_args(stored.launch_args)
        query = worker_query(stored, args, template) | {"limit": CANDIDATES_MAX}
        rows = msgspec.json.decode(self.offers.search(query, stored.account_id))
        offers = [_candidate(stored.id, row, args.bid) for row in rows]
        if args.bid is None and await self._ask(_may_bid, stored.endpoint_id):
            offers += [one for row in rows if (one := _by_bid(stored.id, row)) is not None]
        return offers

    async def owner_of(self, key: str) -> int | None:
        """The account whose key this is; None when it is nobody's, or reaches no endpoints."""
        try:
            caller = await self.keys.caller(key)
        except errors.NotAuthenticated:
            return None
        reaches = caller.kind == "account" and caller.may(Permission.MISC)
        return caller.account if reaches else None

    async def signing_key(self, name: str, make: Callable[[], str]) -> str:
        """A private key of this market as text, made by `make` when it has none of that name."""
        return await self._ask(_signing_key, name, make, self.clock.now_ms(), self.house)

    async def stand(self, engine: str, address: str) -> Ownership:
        """Say that an engine is there, at this address; keep or take the endpoints due to it."""
        return await self._ask(owning.stand, engine, address, self.clock.now_ms())

    async def keep(self, endpoint: EndpointId, memory: bytes, fence: int) -> None:
        """Keep what an engine should know of an endpoint after its own death."""
        await self._ask(leases.keep, endpoint, memory, fence)

    async def kept(self, endpoint: EndpointId) -> bytes | None:
        """What was kept last."""
        return await self._ask(leases.kept, endpoint)

    async def record(self, endpoint: EndpointId, minutes: Sequence[Minute], fence: int) -> None:
        """Keep how much was asked; the same minute under the same fence is kept once."""
        await self._ask(traffic.record, endpoint, minutes, fence)

    async def renew(self, account: int, group: GroupId, *, cancel: bool) -> int:
        """Have a group's workers made anew one by one, or no longer; how many are concerned.

        Raises:
            LookupError: when the account has no such group.
        """
        owner, now_ms = AccountId(account), self.clock.now_ms()
        try:
            if cancel:
                return await self._ask(deploying.cancel, owner, group, now_ms)
            return await rolling.roll_out(self._ask, self.blobs, owner, group, now_ms)
        except errors.NotFound as none:
            raise LookupError(str(none)) from none
        except BlobsTrouble as trouble:
            raise ConnectionError(str(trouble)) from trouble

    async def carry_out(
        self, endpoint: EndpointId, group: GroupId, decision: Decision, fence: int
    ) -> Outcome:
        """Do what was decided and keep it with its reason; or why it could not be, kept once.

        An older fence than the endpoint's is refused: its owner is another engine.
        """
        made = StoredDecision(
            endpoint_id=endpoint,
            kind=decision.kind.value,
            worker_id=decision.worker,
            offer_id=decision.offer,
            reason=decision.reason,
            outcome=DONE,
            at_ms=self.clock.now_ms(),
        )
        of_account = True  # what is wrong before an offer is looked at is wrong with all of them
        try:
            deed = await self._deed(group, decision)
            of_account = False
            await self._ask(_carry_out, made, fence, deed)
        except errors.Refusal as refusal:
            made = msgspec.structs.replace(made, outcome=str(refusal))
            of_account = of_account or isinstance(refusal, _OF_ACCOUNT)
            of_price = isinstance(refusal, _OF_PRICE)
            await self._ask(_record_refusal, made, of_account=of_account or of_price)
            return Outcome(text=made.outcome, of_account=of_account, of_price=of_price)
        return Outcome()

    async def _deed(self, group: GroupId, decision: Decision) -> Deed:
        """What a decision does, with all that it needs from outside of its transaction."""
        now_ms = self.clock.now_ms()
        if decision.kind is Doing.RENT:
            return await self._rental(group, decision)
        worker = decision.worker
        assert worker is not None, decision
        match decision.kind:
            case Doing.WAKE:
                return partial(serving.wake, worker=worker, now_ms=now_ms, house=self.house)
            case Doing.SLEEP:
                return partial(serving.put_to_sleep, worker=worker, now_ms=now_ms)
            case Doing.UPDATE:
                return self._renewal(group, worker)
            case Doing.DESTROY:
                return partial(serving.release, worker=worker, now_ms=now_ms)

    async def reboot(self, worker: ContractId, fence: int) -> str:
        """Restart a worker that fails; `done`, or why it could not be."""
        try:
            await self._ask(_reboot, worker, fence, self.clock.now_ms(), self.house)
        except errors.Refusal as refusal:
            return str(refusal)
        return DONE

    async def _rental(self, group: GroupId, decision: Decision) -> Deed:
        token, now_ms = new_secret(), self.clock.now_ms()
        minted = Minted(instance_key=new_secret(), jupyter_token=secrets.token_urlsafe(24))
        await self._ask(self._recruit, group, decision, token)  # is refused now if none can be made

        def rental(tx: Tx) -> ContractId:
            wanted = self._recruit(tx, group, decision, token)
            return serving.recruit(tx, wanted, minted, now_ms, self.house).contract.id

        return rental

    def _recruit(self, tx: Tx, group: GroupId, decision: Decision, token: str) -> serving.Recruit:
        """The worker that was decided on, made of what its group is in this very transaction."""
        assert decision.offer is not None, decision
        stored, template = _found(tx, group)
        args = parse_launch_args(stored.launch_args)
        request = RentRequest(
            launch=self._launch(args, template, token),
            disk_mb=round(worker_disk_gb(args, template) * 1_000),
            label=args.label or f"worker of group {group}",
            bid=decision.bid if args.bid is None else NanoUsdPerHour(nano(args.bid)),
            template=(template.id, template.hash_id),
        )
        return serving.Recruit(
            group=group,
            offer=decision.offer,
            request=request,
            token=token,
            reason=decision.reason,
        )

    def _renewal(self, group: GroupId, worker: ContractId) -> Deed:
        token, now_ms = new_secret(), self.clock.now_ms()

        def renewal(tx: Tx) -> None:
            stored, template = _found(tx, group)
            launch = self._launch(parse_launch_args(stored.launch_args), template, token)
            serving.renew(tx, worker, launch, token, now_ms, self.house)

        return renewal

    def _launch(self, args: LaunchArgs, template: StoredTemplate, token: str) -> Launch:
        """What a worker runs: its template's launch with what it needs to find the engine."""
        launch, port = worker_launch(args, template, self.house.box)
        ports = launch.ports
        if all(wish.container != port for wish in ports):
            ports = (*ports, PortWish(container=port))
        own = {
            "REPORT_ADDR": self.engine_url,
            "MASTER_TOKEN": token,
            "WORKER_PORT": str(port),
            "VAST_API_URL": self.engine_url,  # where a deployment's worker asks for its code
        }
        env = {"USE_SSL": "false"} | launch.env | own
        return msgspec.structs.replace(launch, env=env, ports=ports)


def _carry_out(tx: Tx, made: StoredDecision, fence: int, deed: Deed) -> None:
    """Do what was decided and keep why, both or neither."""
    owning.check_fence(tx, made.endpoint_id, fence)
    rented = deed(tx)
    decisions.record(tx, msgspec.structs.replace(made, worker_id=made.worker_id or rented))


def _record_refusal(tx: Tx, refused: StoredDecision, *, of_account: bool) -> None:
    """Keep a refusal, unless it is what the same was refused for last: it is tried often."""
    known = decisions.latest(tx, refused.endpoint_id, refused.worker_id, REFUSALS_COMPARED)
    before = (
        one.outcome
        for one in known
        if one.kind == refused.kind
        # Whatever offer it is that an account cannot pay, it is the same.
        and (refused.worker_id or of_account or one.offer_id == refused.offer_id)
    )
    if next(before, None) != refused.outcome:
        decisions.record(tx, refused)


def _reboot(tx: Tx, worker: ContractId, fence: int, now_ms: int, house: House) -> None:
    stored = workers.get(tx, worker)
    if stored is None:
        raise errors.NotFound(f"There is no worker {worker} any more.")
    owning.check_fence(tx, stored.endpoint_id, fence)
    serving.reboot(tx, worker, now_ms, house)


def _candidate(group: GroupId, row: dict[str, Any], bid: float | None) -> Candidate:
    return Candidate(
        offer=OfferId(row["id"]),
        group=group,
        machine=MachineId(row["machine_id"]),
        kind=f"{row['num_gpus']}x {row['gpu_name']}",
        gpu_price=NanoUsdPerHour(nano(row["dph_base"] if bid is None else bid)),
        storage_price=NanoUsdPerHour(nano(row["storage_total_cost"])),
        estimate=float(row["dlperf"] or 0.0),
        reliability=float(row["reliability2"] or 0.0),
    )


def _by_bid(group: GroupId, row: dict[str, Any]) -> Candidate | None:
    """The same offer at the least bid that wins it now; None when that is not the lower price."""
    least = row["min_bid"]
    if least is None or least >= row["dph_base"]:
        return None
    bid = NanoUsdPerHour(nano(least))
    return msgspec.structs.replace(_candidate(group, row, least), bid=bid)


def _found(tx: Tx, group: GroupId) -> tuple[StoredGroup, StoredTemplate]:
    """A group with what it runs, both of one moment."""
    stored = worker_groups.get(tx, group)
    if stored is None:
        raise errors.NotFound(f"There is no worker group {group} any more.")
    return stored, templating.of_group(tx, stored)


def _may_bid(tx: Tx, endpoint: EndpointId) -> bool:
    found = endpoints.get(tx, endpoint)
    return found is not None and found.parameters.may_bid


def _fleet(tx: Tx) -> Fleet:
    groups: dict[EndpointId, list[Group]] = {}
    for group in worker_groups.everything(tx):
        groups.setdefault(group.endpoint_id, []).append(
            Group(id=group.id, version=group.version, test_workers=group.test_workers)
        )
    return Fleet(
        endpoints=tuple(
            Definition(
                id=one.id,
                account=one.account_id,
                name=one.name,
                key_hash=one.key_hash,
                parameters=one.parameters,
                groups=tuple(groups.get(one.id, ())),
            )
            for one in endpoints.everything(tx)
        ),
        workers=tuple(_fact(worker) for worker in workers.everything(tx)),
    )


def _fact(worker: StoredWorker) -> WorkerFact:
    hardware = worker.hardware
    share = len(worker.gpus) / max(1, hardware.gpu_count)
    reliability = hardware.reliability
    return WorkerFact(
        id=worker.id,
        endpoint=worker.endpoint_id,
        group=worker.group_id,
        machine=worker.machine_id,
        version=worker.version,
        token_hash=worker.token_hash,
        kind=f"{len(worker.gpus)}x {hardware.gpu_model.name}",
        contract=worker.kind,
        gpu_price=NanoUsdPerHour(worker.gpu_rate),
        on_demand_price=_on_demand(worker),
        storage_price=storage_rate(NanoUsdPerGbMonth(worker.disk_price), worker.disk_mb),
        reliability=UNPROVEN_RELIABILITY if reliability is None else reliability,
        dlperf=hardware.dlperf * share,
        state=worker.state,
        started_at_ms=worker.started_at_ms,
        created_at_ms=worker.created_at_ms,
        address=hardware.network.public_ip,
        message=worker.message,
        leaves=worker.leaves,
    )


def _on_demand(worker: StoredWorker) -> NanoUsdPerHour:
    """What its renter would pay for its GPUs on demand."""
    if worker.kind is not Contract.INTERRUPTIBLE:
        return NanoUsdPerHour(worker.gpu_rate)
    asked = worker.listed_gpu * len(worker.gpus)
    return NanoUsdPerHour(with_fee(asked, worker.platform_fee_ppm))


def _signing_key(tx: Tx, name: str, make: Callable[[], str], now_ms: int, house: House) -> str:
    tx.queue(f"signing:{name}")
    row = tx.one("select sealed from signing_keys where name = %s", name)
    if row is not None:
        return house.box.open(bytes(row["sealed"]))
    made = make()
    tx.run(
        "insert into signing_keys (name, sealed, created_at_ms) values (%s, %s, %s)",
        name,
        house.box.seal(made),
        now_ms,
    )
    return made
