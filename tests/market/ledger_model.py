"""A market's money in memory: the rules of market/ over dictionaries instead of tables.

What a charge costs, how it is shared out, when a deposit is used up, what is refunded: all of it is
decided by the functions that control/flows calls; only the rows are dictionaries here.
"""

from dataclasses import dataclass, field
from random import Random

from msgspec.structs import replace

from mercato.market.credit import position
from mercato.market.ids import AccountId, Cause, ContractId, SegmentId
from mercato.market.ledger import (
    FUNDING,
    Books,
    Charge,
    Transfer,
    credit_of,
    deposit_of,
    earnings_of,
    shared_out,
)
from mercato.market.meter import DISK, GPU, Segment, last_covered_ms
from mercato.market.money import MS_PER_HOUR, NANO, NanoUsd, NanoUsdPerGb, NanoUsdPerHour
from mercato.market.reserving import discount_ppb, discounted, months_ppm
from mercato.market.usage import GENESIS, EndedEarly, Metered, Moved, Record, Use, cost

FEE_PPM = 100_000
MAX_PPM = 400_000


@dataclass
class Contract:
    """One rental: its rates, its meters, its bytes, its deposit's discount."""

    id: ContractId
    renter: AccountId
    host: AccountId
    rates: dict[str, NanoUsdPerHour]
    meters: dict[str, Segment] = field(default_factory=dict)
    drawn: list[Segment] = field(default_factory=list)
    """The closed meters that drew on the deposit."""
    discount: int | None = None
    up_bytes: int = 0


@dataclass
class Model:
    """Accounts, contracts, books, usage records; a clock that jumps."""

    luck: Random
    books: Books = field(default_factory=Books)
    contracts: dict[ContractId, Contract] = field(default_factory=dict)
    now_ms: int = 1_700_000_000_000
    heads: dict[AccountId, tuple[int, str]] = field(default_factory=dict)
    replayed: dict[AccountId, int] = field(default_factory=dict)
    """What each account's usage records come to, computed from the records alone."""
    charged: dict[AccountId, int] = field(default_factory=dict)
    """What each account was charged, by the transfers."""
    numbers: int = 0
    fee_ppm: int = FEE_PPM

    def number(self) -> int:
        """A new number."""
        self.numbers += 1
        return self.numbers

    # --- Moving money -----------------------------------------------------------------------------

    def move(self, debit: str, credit: str, amount: int, account: AccountId, kind: str) -> None:
        """Move money for a cause of its own."""
        if amount > 0:
            self.books.move(
                Transfer(
                    cause=Cause(f"{kind}:{self.number()}"),
                    debit=debit,
                    credit=credit,
                    amount=NanoUsd(amount),
                    kind=kind,
                    account_id=account,
                    contract_id=None,
                    at_ms=self.now_ms,
                )
            )

    def charge(self, contract: Contract, use: Use, *, prepaid: bool, cause: str) -> None:
        """As flows/charging.py does."""
        amount = cost(use)
        if amount <= 0 or cause in self.books.causes:
            return
        payer = deposit_of(contract.id) if prepaid else credit_of(contract.renter)
        owed = Charge(
            cause=Cause(cause),
            amount=amount,
            payer=payer,
            renter=contract.renter,
            host=contract.host,
            contract=contract.id,
            platform_fee_ppm=self.fee_ppm,
            about={},
            made_good=not isinstance(use, Moved),
        )
        in_purse = self.books.balance(payer)
        self.charged.setdefault(contract.renter, 0)
        for transfer in shared_out(owed, in_purse, self.now_ms):
            assert self.books.move(transfer)
            sign = -1 if transfer.kind == "goodwill" else 1
            before = self.charged.get(contract.renter, 0)
            self.charged[contract.renter] = before + sign * transfer.amount
        number, previous = self.heads.get(contract.renter, (0, GENESIS))
        record = Record(
            account=contract.renter,
            number=number + 1,
            contract=contract.id,
            use=use,
            amount=amount,
            goodwill=NanoUsd(amount - owed.borne(in_purse)),
            prepaid=prepaid,
            issued_at_ms=self.now_ms,
            previous=previous,
        )
        self.heads[contract.renter] = number + 1, record.hash
        bill = self.replayed.get(contract.renter, 0)
        self.replayed[contract.renter] = bill + cost(record.use) - record.goodwill

    # --- Meters -----------------------------------------------------------------------------------

    def open(self, contract: Contract, kind: str, from_ms: int) -> None:
        """As metering.open_meter does."""
        if kind in contract.meters:
            return
        listed = contract.rates[kind]
        saved = contract.discount
        contract.meters[kind] = Segment(
            id=SegmentId(self.number()),
            contract_id=contract.id,
            renter_id=contract.renter,
            kind=kind,
            rate=listed if saved is None else discounted(listed, saved),
            list_rate=listed,
            prepaid=saved is not None,
            from_ms=from_ms,
            to_ms=None,
            posted=NanoUsd(0),
        )

    def post(self, contract: Contract, kind: str, to_ms: int) -> None:
        """As metering._post does."""
        meter = contract.meters[kind]
        use = Metered(
            item=kind,
            meter=meter.id,
            rate=meter.rate,
            from_ms=meter.from_ms,
            to_ms=max(to_ms, meter.from_ms),
            posted_before=meter.posted,
        )
        cause = f"segment:{meter.id}:{meter.posted}"
        self.charge(contract, use, prepaid=meter.prepaid, cause=cause)
        posted = NanoUsd(meter.posted + max(0, cost(use)))
        contract.meters[kind] = replace(meter, posted=posted)

    def stop(self, contract: Contract, kind: str, to_ms: int) -> int:
        """As metering._stop does; up to when it was charged."""
        meter = contract.meters[kind]
        end_ms = max(to_ms, meter.from_ms, meter.posted_until_ms)
        self.post(contract, kind, end_ms)
        ended = replace(contract.meters.pop(kind), to_ms=end_ms)
        if ended.prepaid:
            contract.drawn.append(ended)
        return end_ms

    def use_up(self, contract: Contract, to_ms: int) -> None:
        """As metering.use_up does."""
        running = [meter for meter in contract.meters.values() if meter.prepaid]
        end_ms = last_covered_ms(self.books.balance(deposit_of(contract.id)), running)
        if end_ms is None or end_ms >= to_ms:
            return
        ended = [(meter.kind, self.stop(contract, meter.kind, end_ms)) for meter in running]
        self.end_deposit(contract)
        for kind, ended_ms in ended:
            self.open(contract, kind, ended_ms)

    def end_deposit(self, contract: Contract) -> None:
        """As metering.end_deposit does."""
        purse = deposit_of(contract.id)
        left = self.books.balance(purse)
        self.move(purse, credit_of(contract.renter), left, contract.renter, "refund")
        contract.discount = None
        contract.drawn = []

    def settle(self, contract: Contract) -> None:
        """As metering.settle does."""
        self.use_up(contract, self.now_ms)
        for kind in list(contract.meters):
            self.post(contract, kind, self.now_ms)

    # --- Deeds ------------------------------------------------------------------------------------

    def prepay(self, contract: Contract, amount: int) -> None:
        """As reserving.prepay does, where the credit covers it."""
        self.settle(contract)
        running = list(contract.meters.values())
        purse = self.books.balance(credit_of(contract.renter))
        left = {contract.id: int(self.books.balance(deposit_of(contract.id)))}
        if position(purse, running, left, self.now_ms).spendable < amount or purse < amount:
            return
        self.move(
            credit_of(contract.renter), deposit_of(contract.id), amount, contract.renter, "prepay"
        )
        hourly = NanoUsdPerHour(sum(contract.rates.values()))
        held = self.books.balance(deposit_of(contract.id))
        contract.discount = discount_ppb(months_ppm(held, hourly, MAX_PPM), MAX_PPM)
        for kind in list(contract.meters):
            ended_ms = self.stop(contract, kind, self.now_ms)
            self.open(contract, kind, ended_ms)

    def destroy(self, contract: Contract) -> None:
        """As renting.destroy and reserving.pay_back do."""
        self.use_up(contract, self.now_ms)
        for kind in list(contract.meters):
            self.stop(contract, kind, self.now_ms)
        if contract.discount is not None:
            left = self.books.balance(deposit_of(contract.id))
            saved = sum(meter.saved(self.now_ms + MS_PER_HOUR) for meter in contract.drawn)
            use = EndedEarly(left=left, saved=NanoUsd(saved))
            cause = f"early_end:{contract.id}:{self.number()}"
            self.charge(contract, use, prepaid=True, cause=cause)
            self.end_deposit(contract)
        del self.contracts[contract.id]

    def step(self, accounts: int, contracts_max: int) -> None:
        """One random deed at a random moment; the clock goes on, and now and then jumps."""
        luck = self.luck
        self.now_ms += luck.randrange(1, 120_000)
        if luck.random() < 0.01:
            self.now_ms += luck.randrange(-MS_PER_HOUR, MS_PER_HOUR)
        account = AccountId(luck.randrange(1, accounts + 1))
        if luck.random() < 0.15 or not self.contracts:
            self._of_account(account, accounts, contracts_max)
            return
        contract = luck.choice(list(self.contracts.values()))
        match luck.randrange(12):
            case 0 | 1:
                self.use_up(contract, self.now_ms)
                self.open(contract, GPU, self.now_ms)
            case 2 | 3 if GPU in contract.meters:
                self.use_up(contract, self.now_ms)
                self.stop(contract, GPU, self.now_ms)
            case 4:
                self.prepay(contract, luck.randrange(NANO // 100, 20 * NANO))
            case 5 if luck.random() < 0.3:
                self.destroy(contract)
            case 6 | 7:
                before = contract.up_bytes
                contract.up_bytes += luck.randrange(10**9)
                use = Moved(
                    item="up",
                    price=NanoUsdPerGb(NANO // 50),
                    from_bytes=before,
                    to_bytes=contract.up_bytes,
                )
                self.charge(contract, use, prepaid=False, cause=f"bytes:{contract.id}:{before}")
            case _:
                self.settle(contract)

    def _of_account(self, account: AccountId, accounts: int, contracts_max: int) -> None:
        luck = self.luck
        other = AccountId(luck.randrange(1, accounts + 1))
        amount = luck.randrange(1, 50 * NANO)
        match luck.randrange(4):
            case 0:
                self.move(FUNDING, credit_of(account), amount, account, "credit")
            case 1 if other != account and self.books.balance(credit_of(account)) >= amount:
                self.move(credit_of(account), credit_of(other), amount, account, "transfer")
            case 2:
                earned = self.books.balance(earnings_of(account))
                self.move(earnings_of(account), FUNDING, min(amount, earned), account, "payout")
            case _ if other != account and len(self.contracts) < contracts_max:
                rates = {
                    GPU: NanoUsdPerHour(luck.randrange(5 * NANO)),
                    DISK: NanoUsdPerHour(luck.randrange(1, NANO // 100)),
                }
                made = Contract(ContractId(self.number()), account, other, rates)
                self.contracts[made.id] = made
                self.open(made, DISK, self.now_ms)
            case _:
                pass
