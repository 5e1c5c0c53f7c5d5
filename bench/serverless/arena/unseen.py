"""Write traces and scenarios that no policy was tuned on, to see whether what is learned carries.

A trace is drawn from a rate over time; another seed draws another set of the same shapes. The
shapes are those that endpoints are known for and that scenarios.toml does not have: flat, spiky, on
and off, by the clock, rising, by mood, weekly, rare; short ones, from which there is little to
learn; requests of very unequal work; workers that start slowly.
"""

import argparse
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

HOUR_S: Final = 3_600.0
Rate = Callable[[float], float]
"""Requests a second at a time."""


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """A scenario, less its name, and how to draw the rate of its trace."""

    hours: float
    rate: Callable[[random.Random, float], Rate]
    """From the randomness and the length in seconds."""
    highest: float
    """No rate is above it."""
    work: float = 300.0
    """Mean units of a request."""
    spread: float = 0.7
    """Of the logarithm of the work."""
    slots: int = 8
    ready: int = 1
    stopped: int = 2
    workers_max: int = 20
    hot_min: int = 1
    start_s: float = 30.0
    load_s: float = 210.0
    faults: str = ""


def _flat(level: float) -> Callable[[random.Random, float], Rate]:
    return lambda _rng, _end_s: lambda _at_s: level


def _pieces(
    base: float, high: tuple[float, float], lasts_s: tuple[float, float], every_s: float
) -> Callable[[random.Random, float], Rate]:
    """A base rate and, at random, stretches of another."""

    def rate(rng: random.Random, end_s: float) -> Rate:
        stretches: list[tuple[float, float, float]] = []
        at_s = rng.expovariate(1 / every_s)
        while at_s < end_s:
            ends_s = at_s + rng.uniform(*lasts_s)
            stretches.append((at_s, ends_s, rng.uniform(*high)))
            at_s = ends_s + rng.expovariate(1 / every_s)
        return lambda at_s: (
            base + sum(level for begins_s, ends_s, level in stretches if begins_s <= at_s < ends_s)
        )

    return rate


def _clock(
    on_s: float, period_s: float, high: float, low: float
) -> Callable[[random.Random, float], Rate]:
    """By the clock: so long at one rate, the rest of the period at another."""

    def rate(rng: random.Random, _end_s: float) -> Rate:
        phase_s = rng.uniform(0, period_s)
        return lambda at_s: high if (at_s + phase_s) % period_s < on_s else low

    return rate


def _wave(period_s: float, low: float, high: float) -> Callable[[random.Random, float], Rate]:
    def rate(rng: random.Random, _end_s: float) -> Rate:
        phase = rng.uniform(0, 2 * math.pi)
        middle, swing = (high + low) / 2, (high - low) / 2
        return lambda at_s: middle + swing * math.sin(2 * math.pi * at_s / period_s + phase)

    return rate


def _rising(low: float, high: float) -> Callable[[random.Random, float], Rate]:
    """Grows for four fifths of the time, then falls back at once."""
    return lambda _rng, end_s: (
        lambda at_s: low + (high - low) * at_s / (0.8 * end_s) if at_s < 0.8 * end_s else low
    )


def _once(low: float, high: float, share: float) -> Callable[[random.Random, float], Rate]:
    """One burst, of so large a share of the time, somewhere in the middle half."""

    def rate(rng: random.Random, end_s: float) -> Rate:
        begins_s = end_s * rng.uniform(0.25, 0.75 - share)
        return lambda at_s: high if begins_s <= at_s < begins_s + share * end_s else low

    return rate


def _step(low: float, high: float) -> Callable[[random.Random, float], Rate]:
    """Another level for good, from somewhere in the middle third on."""

    def rate(rng: random.Random, end_s: float) -> Rate:
        from_s = end_s * rng.uniform(1 / 3, 2 / 3)
        return lambda at_s: high if at_s >= from_s else low

    return rate


def _saw(period_s: float, low: float, high: float) -> Callable[[random.Random, float], Rate]:
    """Up along a line and down along a line."""

    def rate(rng: random.Random, _end_s: float) -> Rate:
        phase_s = rng.uniform(0, period_s)
        return lambda at_s: (
            high - (high - low) * abs((at_s + phase_s) % period_s / period_s * 2 - 1)
        )

    return rate


def _mood(levels: tuple[float, ...], stays_s: float) -> Callable[[random.Random, float], Rate]:
    """A level for a random time, then another."""

    def rate(rng: random.Random, end_s: float) -> Rate:
        drawn = [rng.choice(levels)]
        ends = [rng.expovariate(1 / stays_s)]
        while ends[-1] < end_s:
            drawn.append(rng.choice(levels))
            ends.append(ends[-1] + rng.expovariate(1 / stays_s))
        place = 0

        def level(at_s: float) -> float:
            nonlocal place
            while ends[place] <= at_s:
                place += 1
            return drawn[place]

        return level

    return rate


def _week(low: float, high: float) -> Callable[[random.Random, float], Rate]:
    """Days that rise and fall, five strong and two weak."""

    def rate(rng: random.Random, _end_s: float) -> Rate:
        first = rng.randrange(7)

        def level(at_s: float) -> float:
            day = (first + int(at_s // (24 * HOUR_S))) % 7
            hour = at_s / HOUR_S % 24
            sun = max(0.0, math.sin(math.pi * (hour - 7) / 14)) if 7 <= hour < 21 else 0.0
            return low + (high - low) * sun * (0.25 if day >= 5 else 1.0)

        return level

    return rate


FAULTS: Final = "{ crash_per_hour = 0.25, load_failure = 0.10, poisoned = 0.15, degrading = 0.15 }"
SHAPES: Final[dict[str, Shape]] = {
    "a_flat_low": Shape(hours=4, rate=_flat(0.4), highest=0.4),
    "b_flat_high": Shape(hours=2, rate=_flat(14.0), highest=14.0, ready=14, workers_max=60),
    "c_spiky": Shape(
        hours=8,
        rate=_pieces(1.0, (5.0, 15.0), (60, 240), 1_500),
        highest=16.0,
        ready=2,
        stopped=4,
        workers_max=40,
    ),
    "d_on_off": Shape(
        hours=8, rate=_clock(600, 2_400, 6.0, 0.0), highest=6.0, ready=0, stopped=4, hot_min=0
    ),
    "e_hourly": Shape(
        hours=16, rate=_clock(60, 3_600, 6.0, 0.0), highest=6.0, ready=0, stopped=4, hot_min=0
    ),
    "f_rising": Shape(hours=6, rate=_rising(0.5, 12.0), highest=12.0, workers_max=40),
    "g_mood": Shape(
        hours=10, rate=_mood((0.2, 1.0, 3.0, 8.0), 900), highest=8.0, ready=2, workers_max=30
    ),
    "h_waves": Shape(
        hours=6, rate=_wave(1_800, 1.0, 9.0), highest=9.0, ready=5, stopped=5, workers_max=40
    ),
    "i_week": Shape(hours=168, rate=_week(0.02, 0.6), highest=0.6, spread=1.0),
    "j_rare": Shape(
        hours=48,
        rate=_pieces(0.002, (0.02, 0.2), (120, 900), 7_200),
        highest=0.3,
        ready=0,
        stopped=1,
        workers_max=6,
        hot_min=0,
    ),
    "k_long": Shape(hours=8, rate=_mood((0.02, 0.06, 0.12), 3_600), highest=0.12, work=9_000.0),
    "l_image_flat": Shape(
        hours=6, rate=_flat(1.0), highest=1.0, work=100.0, spread=0.4, slots=1, ready=6
    ),
    "m_image_spiky": Shape(
        hours=8,
        rate=_pieces(0.15, (0.5, 2.0), (120, 600), 1_800),
        highest=2.5,
        work=100.0,
        spread=0.4,
        slots=1,
        workers_max=30,
    ),
    "n_image_faults": Shape(
        hours=8,
        rate=_wave(14_400, 0.2, 1.0),
        highest=1.0,
        work=100.0,
        spread=0.4,
        slots=1,
        ready=4,
        faults=FAULTS,
    ),
    "o_bursty_minutes": Shape(
        hours=2,
        rate=_clock(40, 120, 20.0, 0.2),
        highest=20.0,
        work=150.0,
        ready=6,
        stopped=6,
        workers_max=60,
    ),
    "p_small": Shape(hours=8, rate=_mood((0.02, 0.1, 0.5), 1_200), highest=0.5, hot_min=0),
    "q_short_burst": Shape(
        hours=2 / 3,
        rate=_once(2.0, 6.0, 0.125),
        highest=6.0,
        ready=3,
        stopped=4,
        workers_max=12,
    ),
    "r_short_flat": Shape(
        hours=0.5, rate=_flat(5.0), highest=5.0, ready=3, stopped=5, workers_max=20
    ),
    "s_short_rise": Shape(
        hours=1, rate=_rising(0.5, 8.0), highest=8.0, ready=2, stopped=6, workers_max=30
    ),
    "t_step_up": Shape(hours=4, rate=_step(1.0, 7.0), highest=7.0, stopped=3, workers_max=30),
    "u_step_down": Shape(
        hours=4, rate=_step(7.0, 1.0), highest=7.0, ready=8, stopped=2, workers_max=30
    ),
    "v_ramps": Shape(
        hours=6, rate=_saw(2_400, 0.5, 9.0), highest=9.0, ready=3, stopped=6, workers_max=40
    ),
    "w_heavy_tail": Shape(
        hours=6, rate=_flat(2.0), highest=2.0, spread=1.8, ready=3, stopped=3, workers_max=30
    ),
    "x_heavy_spiky": Shape(
        hours=8,
        rate=_pieces(0.4, (2.0, 6.0), (60, 600), 1_800),
        highest=6.5,
        spread=1.5,
        ready=1,
        stopped=4,
        workers_max=30,
    ),
    "y_batches": Shape(
        hours=8, rate=_clock(10, 1_800, 20.0, 0.1), highest=20.0, stopped=5, workers_max=20
    ),
    "z_slow_start": Shape(
        hours=8,
        rate=_mood((0.5, 2.0, 5.0), 1_200),
        highest=5.0,
        ready=2,
        stopped=4,
        workers_max=30,
        start_s=120.0,
        load_s=600.0,
    ),
}


def main() -> None:
    """Write NAME.csv and scenarios.toml into a folder."""
    parser = argparse.ArgumentParser(prog="bench/serverless/unseen", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    rows = [_write(name, shape, chosen.folder, chosen.seed) for name, shape in SHAPES.items()]
    (chosen.folder / "scenarios.toml").write_text("\n".join(rows))


def _write(name: str, shape: Shape, folder: Path, seed: int) -> str:
    rng = random.Random(f"{name} {seed}")
    end_s = shape.hours * HOUR_S
    rate = shape.rate(rng, end_s)
    lines, at_s = ["t_s,work,claimed"], 0.0
    while (at_s := at_s + rng.expovariate(shape.highest)) < end_s:
        if rng.random() * shape.highest < rate(at_s):
            work = shape.work * math.exp(rng.gauss(-(shape.spread**2) / 2, shape.spread))
            claimed = work * math.exp(rng.gauss(-0.11, 0.47))
            lines.append(f"{at_s:.2f},{max(1, work):.0f},{max(1, claimed):.0f}")
    (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
    fields = {
        "name": f'"{name}"',
        "trace": f'"{name}"',
        "end_s": f"{end_s:.0f}",
        "warm_s": f"{min(900.0, end_s / 10) if shape.hot_min else 0:.0f}",
        "slots": shape.slots,
        "ready": shape.ready,
        "stopped": shape.stopped,
        "workers_max": shape.workers_max,
        "hot_min": shape.hot_min,
        "start_s": shape.start_s,
        "load_s": shape.load_s,
    }
    fields |= {"faults": shape.faults} if shape.faults else {}
    return "\n".join(["[[scenario]]", *(f"{key} = {value}" for key, value in fields.items()), ""])


if __name__ == "__main__":
    main()
