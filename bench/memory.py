"""How much memory an idle control plane and an agent hold; the aims are 200 and 80 MiB.

Run as `.venv/bin/python bench/memory.py`. A market as `mercato up` starts it on a real Docker
Engine, without its database: the server, and the agent connected and idle, then with ten instances.
"""

import threading
from collections.abc import Sequence

import psutil  # type: ignore[import-untyped]

from measure import Table, report
from running import eventually, market

INSTANCES = 10
SETTLES_S = 10.0


def main() -> None:
    with market() as up:
        settle()
        rows = [row("server", up.server()), row("agent, connected and idle", up.agent())]
        made = [up.rent(offer, runtype="ssh_direct") for offer in up.offers()[:INSTANCES]]
        eventually(lambda: {up.status(one) for one in made} == {"running"})
        settle()
        rows.append(row(f"agent with {INSTANCES} instances", up.agent()))
    report(
        __file__,
        "Memory of an idle server and of an agent",
        "A server with one machine, and the machine's agent on a Docker Engine, each "
        f"{SETTLES_S:g} s after the last change. The instances are open to SSH.",
        [Table("", ("process", "resident MiB", "its own (USS) MiB", "aim MiB"), rows)],
    )


def settle() -> None:
    threading.Event().wait(SETTLES_S)


def row(name: str, process: psutil.Process) -> Sequence[str]:
    """What a process holds."""
    seen = process.memory_full_info()
    aim = "200" if name == "server" else "80"
    return [name, f"{seen.rss / 2**20:.0f}", f"{seen.uss / 2**20:.0f}", aim]


if __name__ == "__main__":
    main()
