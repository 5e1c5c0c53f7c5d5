"""From a renter's call to a running container, beside `docker run` of the same image.

Run as `.venv/bin/python bench/create.py`. A real server, agent and Docker Engine on this machine;
the image is there. A rental and a `docker run` take turns. When a container began to run is what
the engine says of it; the clock is the same.
"""

import json
import subprocess
from datetime import datetime
from typing import Any

from measure import Table, ms, quantile, report
from mercato.control.clock import SystemClock
from running import Market, eventually, market

RUNS = 15
CLOCK = SystemClock()
COMMAND = ["sleep", "600"]


def main() -> None:
    rented: list[tuple[float, float, float]] = []
    plain: list[tuple[float, float]] = []
    with market() as up:
        for _ in range(RUNS + 1):
            rented.append(rental(up))
            plain.append(docker_run(up.image))
    # The first of each warms up.
    answered, running, shown = ([one[nth] for one in rented[1:]] for nth in range(3))
    began, returned = ([one[nth] for one in plain[1:]] for nth in range(2))
    floor = quantile(began, 0.5)
    report(
        __file__,
        "From create to running",
        f"{RUNS} rentals and {RUNS} times `docker run --detach`, same image, same network,"
        " in turn, the image there, milliseconds since the call. *Of docker run* compares medians"
        " with the moment at which its container runs.",
        [
            Table(
                "",
                ("until", "p50 ms", "p90 ms", "of docker run"),
                [
                    [
                        name,
                        ms(quantile(times, 0.5)),
                        ms(quantile(times, 0.9)),
                        f"{quantile(times, 0.5) / floor:.2f}",
                    ]
                    for name, times in (
                        ("docker run: the container runs", began),
                        ("docker run: the command returns", returned),
                        ("rental: the call is answered", answered),
                        ("rental: the container runs", running),
                        ("rental: the API says running", shown),
                    )
                ],
            )
        ],
    )


def rental(up: Market) -> tuple[float, float, float]:
    """Milliseconds until the call was answered, the container ran, the API said so."""
    offer = eventually(up.offers)[0]
    began = CLOCK.now_ms()
    made = up.rent(offer, args=COMMAND)
    answered = CLOCK.now_ms()
    eventually(lambda: up.status(made) == "running")
    shown = CLOCK.now_ms()
    [container] = listed(up, made)
    running = started_ms(container)
    up.destroy(made)
    eventually(lambda: not listed(up, made))
    return answered - began, running - began, shown - began


def docker_run(image: str) -> tuple[float, float]:
    """Milliseconds until the container ran and until the command was back."""
    began = CLOCK.now_ms()
    container = docker("run", "--detach", "--network", "mercato", image, *COMMAND).strip()
    returned = CLOCK.now_ms()
    running = started_ms(container)
    docker("rm", "--force", container)
    return running - began, returned - began


def listed(up: Market, instance: int) -> list[str]:
    """The containers of an instance."""
    ours = ("--filter", f"label=mercato.owner={up.owner}")
    its = ("--filter", f"label=mercato.instance={instance}")
    return docker("ps", "--all", "--quiet", *ours, *its).split()


def started_ms(container: str) -> float:
    """When the engine says that a container began to run, milliseconds since 1970."""
    state: dict[str, Any] = json.loads(docker("inspect", container))[0]["State"]
    whole, _, rest = state["StartedAt"].rstrip("Z").partition(".")
    return 1_000 * (datetime.fromisoformat(f"{whole}+00:00").timestamp() + float(f"0.{rest or 0}"))


def docker(*words: str) -> str:
    """What the engine's command answers."""
    done = subprocess.run(["docker", *words], check=True, capture_output=True, text=True)
    return done.stdout


if __name__ == "__main__":
    main()
