"""How often neighbours have exchanged their conditions, from the checkpoints of the walkers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from psiflow_cli.stages.sample.trajectories import Recorded
from psiflow_cli.worker.md import checkpoint

UNITS = {"temperature": " K", "pressure": " bar"}


class Rate(TypedDict):
    """Of the exchanges between two values of a temperature, a pressure or a name of `--vary`."""

    axis: str
    between: list[float]
    tried: int
    accepted: int
    rate: float


def rates(paths: Sequence[Recorded]) -> list[Rate]:
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


def as_text(table: Sequence[Rate]) -> str:
    """A line for each pair."""
    if not table:
        return "no exchange was attempted: the walkers made fewer steps than --exchange"
    lines = []
    for each in table:
        low, high = each["between"]
        unit = UNITS.get(each["axis"], "")
        pair = f"{each['axis']} {low:.6g} <-> {high:.6g}{unit}"
        lines.append(f"{pair}  {each['rate']:.0%} ({each['accepted']} of {each['tried']})")
    return "\n".join(["accepted exchanges", *lines])
