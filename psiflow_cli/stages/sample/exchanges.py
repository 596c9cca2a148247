"""How often neighbours have exchanged their conditions, from the checkpoints of the walkers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from psiflow_cli.stages.sample.trajectories import Recorded
from psiflow_cli.worker.md import checkpoint

if TYPE_CHECKING:
    from psiflow_cli.messages import ExchangeRate

UNITS = {"temperature": " K", "pressure": " bar"}


def rates(paths: Sequence[Recorded]) -> list[ExchangeRate]:
    """Of each pair of neighbours, over all starts and at all values of the other axes."""
    counts: dict[tuple[str, float, float], list[int]] = {}
    for folder in dict.fromkeys(path.folder for path in paths):
        last = checkpoint.read(folder)
        for state in last.walkers if last else ():
            for pair, (tried, accepted) in state.more.get("trials", {}).items():
                axis, low, high = pair.split()
                count = counts.setdefault((axis, float(low), float(high)), [0, 0])
                count[0] += tried
                count[1] += accepted
    return [
        {"axis": axis, "between": [low, high], "tried": tried, "accepted": done, "rate": done / tried}
        for (axis, low, high), (tried, done) in sorted(counts.items())
    ]


def as_text(table: Sequence[ExchangeRate]) -> str:
    """A line for each pair."""
    if not table:
        return "no exchange was attempted: the walkers made fewer steps than --exchange"
    lines = [f"{pair(each)}  {each['rate']:.0%} ({each['accepted']} of {each['tried']})" for each in table]
    return "\n".join(["accepted exchanges", *lines])


def pair(rate: ExchangeRate) -> str:
    """Which two values were exchanged, such as `temperature 300 <-> 330 K`."""
    low, high = rate["between"]
    return f"{rate['axis']} {low:.6g} <-> {high:.6g}{UNITS.get(rate['axis'], '')}"
