"""How long a search takes, among 20,000 and 1,000,000 offers, beside other ways to do it.

Run as `.venv/bin/python bench/search.py [--alone] [SIZE ...]`; `--alone` leaves the others out.
They run in an environment of their own, `.venv-peers`, which is built from PyPI when it is not
there. All answer the same queries over the same offers. That they find the same rows is checked,
but for gpuhunt's way, which has words for some of the filters only, and for searches by score, in
which luck has a hand. Each size has a page of its own among the results.
"""

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psycopg

from measure import Table, ms, quantile, report
from mercato.catalog.index import Index
from mercato.catalog.language import parse
from mercato.control.api.offer_fields import OFFERS
from mercato.control.embedded import EmbeddedPostgres
from offers_market import KINDS, NOW_MS, Market, Row, queries

ROOT = Path(__file__).parents[1]
PEERS = ("gpuhunt==0.1.34", "pandas==3.1.1")
SIZES = (20_000, 1_000_000)
SEARCHES = 300
CHANGES_A_SECOND = 1_000
LIMIT = 64

NUMBERS = (
    *("id", "num_gpus", "gpu_ram", "cpu_ram", "cpu_cores_effective", "reliability"),
    *("cuda_max_good", "inet_down", "inet_up", "disk_space", "dlperf", "dph_base", "storage_cost"),
)
TRUTHS = ("verified", "external", "rentable", "rented")
TEXTS = ("gpu_name", "geolocation")


@dataclass(frozen=True)
class Took:
    """How long a search of a kind took, in milliseconds: by the clock, and of a processor."""

    kind: str
    wall_ms: float
    cpu_ms: float | None = None


Times = list[Took]


def main() -> None:
    words = sys.argv[1:]
    alone = "--alone" in words
    for size in [int(word) for word in words if word != "--alone"] or SIZES:
        index, columns = built(size)
        settled(index)
        tables = [] if alone else [beside_others(size, index, columns)]
        # The last changes the rows.
        tables += [by_kind(size, index), while_changing(size, index)]
        report(
            f"search_{size}",
            f"Searching among {size:,} offers",
            f"Searches of six kinds in turn, each with the default filters and up to four more, "
            f"{LIMIT} offers wanted; ours answers with every field of each, encoded. *Times ours* "
            "compares medians. *CPU ms* is the searching thread's processor time, which other work "
            "on the machine disturbs least.",
            tables,
        )
        del index, columns


def built(size: int) -> tuple[Index, dict[str, Any]]:
    """Our index of the market, and its columns for the others."""
    index = Index(OFFERS)
    parts: list[dict[str, Any]] = []
    batch: dict[int, Row] = {}
    for rows in Market(size).rows():
        batch |= rows
        if len(batch) > 10_000:
            index.change(batch)
            parts.append(plain(list(batch.values())))
            batch = {}
    index.change(batch)
    parts.append(plain(list(batch.values())))
    return index, {name: np.concatenate([one[name] for one in parts]) for name in parts[0]}


def plain(rows: Sequence[Row]) -> dict[str, Any]:
    """The columns that the queries ask about, as arrays."""
    columns: dict[str, Any] = {
        name: np.array([float(str(row[name])) for row in rows]) for name in NUMBERS
    }
    columns["id"] = np.array([row["id"] for row in rows], dtype=np.int64)
    columns["gpu_name"] = np.array([str(row["gpu_name"]) for row in rows], dtype="U16")
    columns["geolocation"] = np.array([str(row["geolocation"])[-2:] for row in rows], dtype="U2")
    columns["verified"] = np.array(
        [row["verification"] == "verified" for row in rows], dtype=np.bool_
    )
    for name in ("external", "rentable", "rented"):
        columns[name] = np.array([bool(row[name]) for row in rows], dtype=np.bool_)
    weight = np.array([float(str(row["reliability_mult"])) for row in rows])
    columns["weight"] = weight * np.where(columns["verified"], 1.0, 0.9)
    return columns


def searched(index: Index, count: int) -> tuple[Times, list[list[int]]]:
    """Our times, parsing and encoding included, and what was found."""
    times, found = [], []
    for kind, body in queries(count):
        began, spent = time.perf_counter(), time.thread_time()
        index.search(parse(body, OFFERS), NOW_MS, 5)
        cpu_ms = (time.thread_time() - spent) * 1_000
        times.append(Took(kind, (time.perf_counter() - began) * 1_000, cpu_ms))
        found.append(index.search_ids(parse(body, OFFERS), NOW_MS, 5))
    return times, found


def settled(index: Index) -> None:
    """As after some seconds of service: what is asked for often has been sorted."""
    searched(index, 60)
    index.refresh()


def beside_others(size: int, index: Index, columns: dict[str, Any]) -> Table:
    ours, found = searched(index, SEARCHES)
    median = quantile([one.wall_ms for one in ours], 0.5)
    rows = [row("Mercato", ours, median)]
    # The slow ones answer fewer: a million offers take them a second each.
    fewer = 30 if size > 100_000 else 120
    with tempfile.TemporaryDirectory(prefix="mercato-bench-") as folder:
        np.savez(Path(folder) / "offers.npz", **columns)
        for name, way, count in (
            ("pandas", "pandas", fewer),
            ("a list of dicts", "dicts", fewer),
            ("gpuhunt's way", "gpuhunt", fewer),
        ):
            times, theirs = peer(way, Path(folder), count)
            if way != "gpuhunt":
                same(found, theirs, times)
            rows.append(row(name, times, median))
    times, theirs = postgres(columns, 120)
    same(found, theirs, times)
    rows.insert(1, row("PostgreSQL, indexed", times, median))
    return Table(f"{size:,} offers", ("way", "p50 ms", "p99 ms", "times ours", "searches"), rows)


def row(name: str, times: Times, ours: float) -> list[str]:
    values = [one.wall_ms for one in times]
    middle = quantile(values, 0.5)
    times_ours = f"{middle / ours:,.1f}"
    return [name, ms(middle), ms(quantile(values, 0.99)), times_ours, str(len(values))]


def same(ours: list[list[int]], theirs: list[list[int]], times: Times) -> None:
    for one, mine, other in zip(times, ours, theirs, strict=False):
        assert one.kind == "A" or mine == other, f"another answer to a search of kind {one.kind}"


def by_kind(size: int, index: Index) -> Table:
    times, _ = searched(index, SEARCHES)
    rows = [["all", *figures(times)]]
    for kind, meaning in KINDS.items():
        rows.append([meaning, *figures([one for one in times if one.kind == kind])])
    return Table(f"Mercato, {size:,} offers, by kind", ("kind", *FIGURES), rows)


FIGURES = ("p50 ms", "p99 ms", "p50 CPU ms", "p99 CPU ms")


def figures(times: Times) -> list[str]:
    wall, cpu = [one.wall_ms for one in times], [one.cpu_ms or 0.0 for one in times]
    return [ms(quantile(values, share)) for values in (wall, cpu) for share in (0.5, 0.99)]


def while_changing(size: int, index: Index) -> Table:
    """Searches while another thread changes rows and a third sorts, as in a server."""
    with changing(index, Market(size)) as changed:
        times: Times = []
        began = time.monotonic()
        while time.monotonic() - began < 15:
            times += searched(index, 60)[0]
        lasted = time.monotonic() - began
    return Table(
        f"Mercato, {size:,} offers, while rows change",
        ("rows a second", *FIGURES, "searches"),
        [[f"{changed[0] / lasted:,.0f}", *figures(times), str(len(times))]],
    )


@contextmanager
def changing(index: Index, market: Market) -> Iterator[list[int]]:
    """Machines change all the time; the number of rows that did is the one element."""
    stop = threading.Event()
    changed = [0]

    def change() -> None:
        other = Market(market.offers, market.seed + 1)
        number = 1
        due = time.monotonic()
        while not stop.wait(max(0.0, due - time.monotonic())):
            for rows in other.rows(range(number, number + 4)):
                index.change(rows)
                changed[0] += len(rows)
                due += len(rows) / CHANGES_A_SECOND
            number = number % (market.machines() - 8) + 4

    def sort() -> None:
        while not stop.wait(2.0):
            index.refresh()

    threads = [threading.Thread(target=each) for each in (change, sort)]
    for thread in threads:
        thread.start()
    try:
        yield changed
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def peer(way: str, folder: Path, count: int) -> tuple[Times, list[list[int]]]:
    asked = folder / "queries.json"
    asked.write_text(json.dumps(queries(count)))
    command = [str(environment()), str(ROOT / "bench" / "peers" / "search_peers.py")]
    told = subprocess.run(
        [*command, way, str(folder / "offers.npz"), str(asked)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    answer = json.loads(told)
    return [Took(kind, value) for kind, value in answer["times"]], answer["found"]


def environment() -> Path:
    """The peers' own Python, built when it is not there."""
    home = ROOT / ".venv-peers"
    python = home / "bin" / "python"
    if not python.exists():
        uv = str(ROOT / ".venv-uv" / "bin" / "uv")
        subprocess.run([uv, "venv", "-q", str(home), "--python", sys.executable], check=True)
        subprocess.run([uv, "pip", "install", "-q", "--python", str(python), *PEERS], check=True)
    return python


def postgres(columns: dict[str, Any], count: int) -> tuple[Times, list[list[int]]]:
    """The same searches in SQL, over a table with the indexes that one would make."""
    with (
        tempfile.TemporaryDirectory(prefix="mercato-bench-") as home,
        EmbeddedPostgres(Path(home)) as url,
        psycopg.connect(url, autocommit=True) as conn,
    ):
        fill(conn, columns)
        times, found = [], []
        for kind, body in queries(count):
            statement, values = in_sql(body)
            began = time.perf_counter()
            rows = conn.execute(statement, values).fetchall()
            times.append(Took(kind, (time.perf_counter() - began) * 1_000))
            found.append([int(one[0]) for one in rows])
    return times, found


def fill(conn: psycopg.Connection[Any], columns: dict[str, Any]) -> None:
    kinds = dict.fromkeys(columns, "double precision")
    kinds |= dict.fromkeys(TRUTHS, "boolean") | dict.fromkeys(TEXTS, "text")
    declared = ", ".join(f"{name} {kind}" for name, kind in kinds.items())
    conn.execute(f"create unlogged table offers ({declared})")
    lists = [columns[name].tolist() for name in kinds]
    with conn.cursor().copy(f"copy offers ({', '.join(kinds)}) from stdin") as copy:
        for one in zip(*lists, strict=True):
            copy.write_row(one)
    for each in (
        "(dph_base) where verified and rentable and not rented and not external",
        "(gpu_name, num_gpus, dph_base)",
        "(geolocation, gpu_ram)",
        "(inet_down)",
        "(cpu_ram, id)",
        "(disk_space)",
        "((dlperf / dph_base * weight))",
    ):
        conn.execute(f"create index on offers {each}")
    conn.execute("vacuum analyze offers")
    conn.execute("set jit = off")


def in_sql(body: Row) -> tuple[str, list[Any]]:
    disk = float(str(body.get("allocated_storage", 8.0)))
    total = f"(dph_base + storage_cost * {disk / 720})"
    computed = {
        "dph_total": total,
        "dlperf_per_dphtotal": f"(dlperf / {total})",
        "score": f"(dlperf / {total} * weight)",
    }
    signs = {"eq": "=", "gte": ">=", "lte": "<=", "in": "= any"}
    tests, values = [], []
    for name, test in body.items():
        if isinstance(test, dict):
            for how, wanted in test.items():
                tests.append(f"{computed.get(name, name)} {signs[how]} (%s)")
                values.append(wanted)
    if "allocated_storage" in body:
        tests.append(f"disk_space >= {disk}")
    order: Any = body.get("order", [["score", "desc"]])
    [[column, way]] = order
    by = f"{computed.get(column, column)} {way}, id"
    return f"select * from offers where {' and '.join(tests)} order by {by} limit {LIMIT}", values


if __name__ == "__main__":
    main()
