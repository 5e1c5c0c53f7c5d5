"""An hour of 100,000 running contracts: what it costs when nothing changes, and for each change.

Beside it, on the same database, the way of a market that charges every contract each hour: one
transfer for each and the purses changed in one statement, which is its floor.
"""

import shutil
import tempfile
import time
from pathlib import Path
from typing import LiteralString

import psycopg
from cryptography.fernet import Fernet

from measure import Table, report
from mercato.control.db import Database
from mercato.control.embedded import EmbeddedPostgres
from mercato.control.flows import metering
from mercato.control.flows.house import House
from mercato.control.loops.money import money_loops
from mercato.control.migrate import migrate
from mercato.control.secrets_box import SecretsBox
from mercato.control.store import contracts
from mercato.market.ids import AccountId, ContractId

CONTRACTS = 100_000
ACCOUNTS = 1_000
CHANGES = 500
T0 = 1_700_000_000_000
HOUR = 3_600_000

FILL = f"""
insert into accounts (email, username, created_at_ms)
    select 'a' || n, 'a' || n, 0 from generate_series(1, {ACCOUNTS}) n;
insert into machines (host_id, hardware, joined_at_ms, seen_at_ms, proven_at_ms, sees)
    select n, '{{}}', {T0}, {T0 + HOUR}, {T0 + HOUR}, true from generate_series(1, {ACCOUNTS}) n;
insert into listings (machine_id, gpu, disk, up, down, bid_floor, min_chunk,
                      credit_discount_max, platform_fee_ppm, listed_at_ms)
    select id, 1000000000, 0, 0, 0, 0, 1, 0.4, 0, 0 from machines;
insert into contracts (renter_id, host_id, machine_id, listing_id, kind, gpus, gpu_rate,
                       disk_price, up_price, down_price, disk_mb, platform_fee_ppm, signed_at_ms)
    select 1 + n % {ACCOUNTS}, m, m, m, 'ondemand', '{{0}}', 1000000000, 72000000, 0, 0, 10000, 0,
           {T0} from (select n, 1 + (n + 1) % {ACCOUNTS} as m
                        from generate_series(1, {CONTRACTS}) n) one;
insert into instances (id, renter_id, machine_id, launch, jupyter_token, intended, reason,
                       intended_at_ms, actual)
    select id, renter_id, machine_id, '{{}}', '', 'running', 'rented', {T0}, 'running'
      from contracts;
insert into segments (contract_id, renter_id, kind, rate, list_rate, from_ms)
    select id, renter_id, meter, rate, rate, signed_at_ms
      from contracts, (values ('gpu', 1000000000::bigint), ('disk', 1000000)) meters (meter, rate);
insert into transfers (cause, debit, credit, amount, kind, account_id, at_ms)
    select 'credit:' || id, 'funding', 'credit:' || id, 100000000000000, 'credit', id, 0
      from accounts;
insert into purses (name, account_id, balance)
    select 'credit:' || id, id, 100000000000000 from accounts;
"""

EACH_HOUR: LiteralString = (
    "with charged as (insert into transfers (cause, debit, credit, amount, kind, account_id,"
    " contract_id, at_ms) select 'hour:' || id, 'credit:' || renter_id, 'earnings:' || host_id,"
    " gpu_rate, 'charge', renter_id, id, 0 from contracts returning debit, amount)"
    " update purses p set balance = p.balance - c.amount from"
    " (select debit, sum(amount) as amount from charged group by debit) c where c.debit = p.name"
)


def main() -> None:
    home = Path(tempfile.mkdtemp(prefix="mercato-bench-"))
    server = EmbeddedPostgres(home)
    url = server.start()
    try:
        measure(url)
    finally:
        server.stop()
        shutil.rmtree(home, ignore_errors=True)


def measure(url: str) -> None:
    migrate(url)
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(FILL.encode())
        conn.execute("analyze")
        db = Database(url, on_poke=lambda _: None)
        db.open()
        house = House(SecretsBox(Fernet.generate_key()))
        for account in range(1, ACCOUNTS + 1):
            db.run_now(metering.forecast, AccountId(account), T0)
        before = rows(conn)
        began = time.perf_counter()
        for loop in money_loops(db, house):
            if loop.name != "payouts":
                loop.activate(T0 + HOUR)
        idle_s = time.perf_counter() - began
        idle_rows = rows(conn) - before

        before, began = rows(conn), time.perf_counter()
        for number in range(1, CHANGES + 1):
            contract = db.run_now(contracts.get, ContractId(number))
            db.run_now(metering.close_meter, contract, metering.GPU, T0 + HOUR, T0 + HOUR)
        each_ms = (time.perf_counter() - began) * 1_000 / CHANGES
        wrote = (rows(conn) - before) / CHANGES

        before, began = rows(conn), time.perf_counter()
        conn.execute(EACH_HOUR)
        floor_s = time.perf_counter() - began
        floor_rows = rows(conn) - before
        db.close()
    report(
        __file__,
        "An hour of running contracts",
        f"{CONTRACTS:,} contracts run for {ACCOUNTS:,} accounts. Charging each, in one statement, "
        "is what a market does that bills every hour.",
        [
            Table(
                "",
                ("what", "ms", "rows written", "of charging each"),
                [
                    line("an hour in which nothing changes", idle_s, idle_rows, floor_s),
                    line("each contract that stops", each_ms / 1_000, wrote, floor_s),
                    line("charging each contract, in bulk", floor_s, floor_rows, floor_s),
                ],
            )
        ],
    )


def line(name: str, took_s: float, wrote: float, floor_s: float) -> list[str]:
    return [name, f"{1_000 * took_s:,.1f}", f"{wrote:,.0f}", f"{took_s / floor_s:.4f}"]


def rows(conn: psycopg.Connection) -> int:
    """How many transfers and usage records there are: what was written for money."""
    found = conn.execute(
        "select (select count(*) from transfers) + (select count(*) from usage_records)"
    ).fetchone()
    assert found is not None
    return int(found[0])


if __name__ == "__main__":
    main()
