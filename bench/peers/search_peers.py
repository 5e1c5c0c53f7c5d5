"""Other ways to search offers, in an environment of their own: gpuhunt's, pandas, plain dicts.

Run by bench/search.py as `PYTHON search_peers.py WAY OFFERS QUERIES`: OFFERS is an .npz with the
columns, QUERIES a JSON list of [kind, query]. Prints JSON: times in milliseconds and ids found.
"""

import heapq
import json
import operator
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

COMPARE: dict[str, Any] = {
    "eq": operator.eq,
    "gte": operator.ge,
    "lte": operator.le,
    "in": lambda value, many: value in many,
}
LIMIT = 64
DISK_GB = 8.0
MONTH_H = 720


def main() -> None:
    way, offers, asked = sys.argv[1:]
    columns = dict(np.load(offers))
    search = WAYS[way](columns)
    del columns
    times, found = [], []
    for kind, query in json.loads(Path(asked).read_text()):
        began = time.perf_counter()
        rows = search(query)
        times.append([kind, (time.perf_counter() - began) * 1_000])
        found.append([row["id"] for row in rows])
    print(json.dumps({"times": times, "found": found}, default=int))


def parts(query: dict[str, Any]) -> tuple[dict[str, Any], str, bool, float]:
    """A query's filters, its order, whether that descends, and the disk that it prices."""
    filters = {name: test for name, test in query.items() if isinstance(test, dict)}
    if "allocated_storage" in query:
        filters["disk_space"] = {"gte": query["allocated_storage"]}
    [[column, way]] = query.get("order", [["score", "desc"]])
    return filters, column, way == "desc", query.get("allocated_storage", DISK_GB)


def with_pandas(columns: dict[str, Any]) -> Any:
    import pandas as pd

    frame = pd.DataFrame(columns)
    for name in ("gpu_name", "geolocation"):
        frame[name] = frame[name].astype("category")

    def search(query: dict[str, Any]) -> Any:
        filters, column, descending, disk = parts(query)
        mask = np.ones(len(frame), dtype=bool)
        total = frame["dph_base"] + frame["storage_cost"] * (disk / MONTH_H)
        for name, test in filters.items():
            values = total if name == "dph_total" else frame[name]
            for how, wanted in test.items():
                mask &= values.isin(wanted) if how == "in" else COMPARE[how](values, wanted)
        left = frame[mask]
        if column in {"dph_total", "dlperf_per_dphtotal", "score"}:
            left = left.assign(dph_total=total[mask])
            left["dlperf_per_dphtotal"] = left["dlperf"] / left["dph_total"]
            left["score"] = left["dlperf_per_dphtotal"] * left["weight"]
        by = [column, "id"]
        return left.sort_values(by, ascending=[not descending, True]).head(LIMIT).to_dict("records")

    return search


def with_dicts(columns: dict[str, Any]) -> Any:
    names = list(columns)
    lists = [columns[name].tolist() for name in names]
    rows = [dict(zip(names, values, strict=True)) for values in zip(*lists, strict=True)]

    def search(query: dict[str, Any]) -> Any:
        filters, column, descending, disk = parts(query)

        def value(row: dict[str, Any], name: str) -> Any:
            if name in row:
                return row[name]
            total = row["dph_base"] + row["storage_cost"] * (disk / MONTH_H)
            if name == "dph_total":
                return total
            per = row["dlperf"] / total
            return per if name == "dlperf_per_dphtotal" else per * row["weight"]

        def meets(row: dict[str, Any]) -> bool:
            return all(
                COMPARE[how](value(row, name), wanted)
                for name, test in filters.items()
                for how, wanted in test.items()
            )

        sign = -1 if descending else 1
        left = (row for row in rows if meets(row))
        return heapq.nsmallest(LIMIT, left, key=lambda row: (sign * value(row, column), row["id"]))

    return search


def with_gpuhunt(columns: dict[str, Any]) -> Any:
    from gpuhunt import CatalogItem, QueryFilter
    from gpuhunt._internal.constraints import matches

    lists = {name: values.tolist() for name, values in columns.items()}
    items = [
        CatalogItem(
            provider="mercato",
            instance_name=str(lists["id"][at]),
            location=lists["geolocation"][at],
            price=lists["dph_base"][at],
            cpu=int(lists["cpu_cores_effective"][at]),
            memory=lists["cpu_ram"][at] / 1_000,
            gpu_vendor="nvidia",
            gpu_count=int(lists["num_gpus"][at]),
            gpu_name=lists["gpu_name"][at],
            gpu_memory=lists["gpu_ram"][at] / 1_000,
            spot=False,
            disk_size=lists["disk_space"][at],
        )
        for at in range(len(lists["id"]))
    ]

    def search(query: dict[str, Any]) -> Any:
        """What of the query gpuhunt has a word for; all offers that match, cheapest first."""
        count, name = query.get("num_gpus", {}), query.get("gpu_name", {})
        asked = QueryFilter(
            gpu_name=name.get("in") or ([name["eq"]] if name else None),
            min_gpu_count=count.get("eq") or count.get("gte") or 1,
            max_gpu_count=count.get("eq"),
            min_gpu_memory=query.get("gpu_ram", {}).get("gte", 0) / 1_000,
            max_price=query.get("dph_total", {}).get("lte"),
            spot=False,
        )
        found = [item for item in items if matches(item, asked)]
        found.sort(key=lambda item: item.price)
        return [{"id": int(item.instance_name)} for item in found[:LIMIT]]

    return search


WAYS = {"gpuhunt": with_gpuhunt, "pandas": with_pandas, "dicts": with_dicts}

if __name__ == "__main__":
    main()
