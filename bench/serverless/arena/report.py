"""The results as a page and as a plot."""

from collections.abc import Sequence
from html import escape
from typing import Final

from arena.policies import OURS, WITH_BIDS
from arena.score import Score, geometric_mean, mean

Results = dict[str, dict[str, list[Score]]]
"""By policy and scenario, one score a seed."""

WIDTH: Final = 760
HEIGHT: Final = 440
MARGIN: Final = 60


def markdown(results: Results, scenarios: Sequence[str]) -> str:
    """The summary, then each scenario's table."""
    parts = ["## J, mean of the seeds\n", _summary(results, scenarios), ""]
    parts += _against_the_best(results, scenarios)
    for scenario in scenarios:
        bound = mean(one.bound for one in next(iter(results.values()))[scenario])
        parts += [f"\n## {scenario} (lower bound ${bound:.2f})\n", _table(results, scenario)]
    return "\n".join(parts) + "\n"


def _summary(results: Results, scenarios: Sequence[str]) -> str:
    lines = [
        "| policy | " + " | ".join(scenarios) + " | geo mean | cost x LB (geo) | mean <= 10 s |",
        "|---" * (len(scenarios) + 4) + "|",
    ]
    for name, by_scenario in results.items():
        j = [mean(one.j for one in by_scenario[scenario]) for scenario in scenarios]
        cost = geometric_mean(
            mean(one.dollars / one.bound for one in by_scenario[scenario]) for scenario in scenarios
        )
        within = mean(
            mean(one.within_10s for one in by_scenario[scenario]) for scenario in scenarios
        )
        cells = " | ".join(f"{value:.2f}" for value in j)
        lines.append(
            f"| {name} | {cells} | **{geometric_mean(j):.3f}** | {cost:.2f} | {within:.1%} |"
        )
    return "\n".join(lines)


def _against_the_best(results: Results, scenarios: Sequence[str]) -> list[str]:
    """Each of our own policies beside the best peer of each scenario, if peers were played."""
    peers = [rows for name, rows in results.items() if name not in OURS and name not in WITH_BIDS]
    if not peers:
        return []
    lines = [
        "| J / best peer's J | " + " | ".join(scenarios) + " |",
        "|---" * (len(scenarios) + 1) + "|",
    ]
    for name in OURS:
        if name in results:
            j = {scenario: mean(one.j for one in results[name][scenario]) for scenario in scenarios}
            best = {s: min(mean(one.j for one in rows[s]) for rows in peers) for s in scenarios}
            cells = " | ".join(f"{j[scenario] / best[scenario]:.2f}" for scenario in scenarios)
            lines.append(f"| {name} / best | {cells} |")
    return lines


def _table(results: Results, scenario: str) -> str:
    lines = [
        (
            "| policy | p50 | p95 | p99 | <= 2 s | <= 10 s | drop | $ | x LB | J (min-max) | util "
            "| recruits | starts | destroys | retries |"
        ),
        "|---" * 15 + "|",
    ]
    for name, by_scenario in results.items():
        runs = by_scenario[scenario]
        j = [one.j for one in runs]
        lines.append(
            f"| {name} | {mean(one.p50_s for one in runs):.2f} "
            f"| {mean(one.p95_s for one in runs):.1f} | {mean(one.p99_s for one in runs):.1f} "
            f"| {mean(one.within_2s for one in runs):.1%} "
            f"| {mean(one.within_10s for one in runs):.2%} "
            f"| {mean(one.dropped for one in runs):.2%} "
            f"| {mean(one.dollars for one in runs):.2f} "
            f"| {mean(one.dollars / one.bound for one in runs):.2f} "
            f"| **{mean(j):.2f}** ({min(j):.2f}-{max(j):.2f}) "
            f"| {mean(one.utilisation for one in runs):.2f} "
            f"| {mean(one.recruits for one in runs):.0f} "
            f"| {mean(one.starts for one in runs):.0f} "
            f"| {mean(one.destroys for one in runs):.0f} "
            f"| {mean(one.retries for one in runs):.0f} |"
        )
    return "\n".join(lines)


def plot(results: Results, names: Sequence[str]) -> str:
    """Cost over the lower bound against the share of late requests: lower left is better."""
    points = {
        name: (
            geometric_mean(mean(o.dollars / o.bound for o in runs) for runs in rows.values()),
            100 * (1 - mean(mean(o.within_10s for o in runs) for runs in rows.values())),
        )
        for name, rows in results.items()
    }
    x_max = 1.1 * max(cost for cost, _ in points.values())
    y_max = 1.1 * max(late for _, late in points.values()) or 1.0
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
            'font-family="sans-serif" font-size="12">'
        ),
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        (
            f'<path d="M{MARGIN} {MARGIN / 2}V{HEIGHT - MARGIN}H{WIDTH - MARGIN / 2}" '
            'fill="none" stroke="black"/>'
        ),
        (
            f'<text x="{WIDTH / 2}" y="{HEIGHT - 15}" text-anchor="middle">'
            "dollars / lower bound, geometric mean</text>"
        ),
        (
            f'<text x="18" y="{HEIGHT / 2}" text-anchor="middle" '
            f'transform="rotate(-90 18 {HEIGHT / 2})">requests later than 10 s, %</text>'
        ),
    ]
    for tick in range(1, int(x_max) + 1):
        x = MARGIN + tick / x_max * (WIDTH - 1.5 * MARGIN)
        parts.append(f'<text x="{x:.0f}" y="{HEIGHT - MARGIN + 16}">{tick}</text>')
    for tick in range(0, int(y_max) + 1, 10):
        y = HEIGHT - MARGIN - tick / y_max * (HEIGHT - 1.5 * MARGIN)
        parts.append(f'<text x="{MARGIN - 24}" y="{y + 4:.0f}">{tick}</text>')
    for name in names:
        cost, late = points[name]
        x = MARGIN + cost / x_max * (WIDTH - 1.5 * MARGIN)
        y = HEIGHT - MARGIN - late / y_max * (HEIGHT - 1.5 * MARGIN)
        colour = "#c22" if name.startswith("auto") else "#357"
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{colour}"/>')
        parts.append(f'<text x="{x + 8:.1f}" y="{y + 4:.1f}" fill="{colour}">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"
