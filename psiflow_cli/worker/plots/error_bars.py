"""A panel of a model's errors by element and by `config_type`, and one of a committee's spread against its error."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from psiflow_cli.worker.plots import style

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes

    from psiflow_cli.messages import GroupError

Bar = tuple[str, float, str]  # name, RMSE and colour of a group
_MOST_BARS = 16
_GROUPS, _LEAST_OF_GROUP = 10, 20  # as in `stages.evaluate.error_scale`
_NAME = 18  # so many letters of a name are shown


def of_rows(errors: Sequence[GroupError]) -> list[Bar]:
    """RMSE of all, of each element, and of each `config_type`; empty if there is nothing to tell apart."""
    bars: list[Bar] = []
    for index, by in ((0, "element"), (2, "config_type")):
        rows = [row for row in errors if row["by"] == by]
        bars += [(row["group"], row["rmse"], style.colour(index)) for row in rows if len(rows) > 1]
    return [*(("all", row["rmse"], "0.45") for row in errors if row["by"] == "all"), *bars] if bars else []


def bars(axis: Axes, errors: list[Bar], unit: str) -> None:
    """RMSE of each group as a bar with its number; the first is that of all, and of very many only the worst."""
    if len(errors) > _MOST_BARS:
        worst = sorted(errors[1:], key=lambda bar: -bar[1])[: _MOST_BARS - 1]
        axis.set_title(f"the {len(worst)} worst of {len(errors) - 1} groups", fontsize="small")
        errors = [errors[0], *worst]
    names, values, colours = zip(*errors, strict=True)
    places = list(range(len(names)))
    axis.barh(places, values, color=colours, height=0.7)
    most = max(values) or 1.0
    for place, value in zip(places, values, strict=True):
        axis.text(value + 0.01 * most, place, style.number(value), va="center", fontsize="small")
    short = [name if len(name) <= _NAME else f"{name[: _NAME - 1]}…" for name in names]
    axis.set_yticks(places, short, fontsize="small")
    axis.set(xlim=(0, 1.2 * most), ylim=(len(names) - 0.4, -0.6), xlabel=f"RMSE ({unit})")
    axis.spines[["top", "right"]].set_visible(False)


def height(numbers: Sequence[int]) -> float:
    """Inches that a row of bars takes, of so many bars each."""
    return 0.8 + 0.22 * min(_MOST_BARS, max(numbers, default=0))


def spread(axis: Axes, spreads: np.ndarray, errors: np.ndarray, unit: str, expected: np.ndarray | None) -> None:
    """The true error against the spread of the members, both logarithmic: points should follow the diagonal.

    So should the root mean squares of groups of points, by their spread and, of a calibrated committee, by the
    expected error.
    """
    import numpy as np

    drawn = (spreads > 0) & (errors > 0)
    axis.set(xlabel=f"spread of the committee ({unit})", ylabel=f"true error ({unit})")
    axis.set_box_aspect(1)
    if not drawn.any():
        axis.set_title("the members do not differ")
        return
    x, y = spreads[drawn], errors[drawn]
    both = np.concatenate([x, y])
    # A few points that happen to be right would stretch the axes over many decades.
    low = max(both.min(), 1e-3 * np.median(both)) / 1.5
    ends = [low, both.max() * 1.5]
    _cloud(axis, x, y, ends)
    axis.plot(ends, ends, color="0.3", lw=0.9, label="equal")
    for index, values, name in ((1, spreads, "by spread"), (2, expected, "by expected error")):
        if values is not None:
            colour = style.colour(index)
            axis.plot(*_grouped(values, errors), "o-", ms=3.5, lw=1.2, color=colour, label=f"RMS {name}")
    if expected is not None:
        axis.set_xlabel(f"spread, or expected error ({unit})")
    axis.set(xlim=ends, ylim=ends)
    for which in "xy":
        style.plain_logarithm(axis, which)
    axis.legend(loc="lower right")
    number = f"{len(spreads):,} {'frames' if 'atom' in unit else 'atoms'}"
    vary = spreads.std() > 0 and errors.std() > 0
    alike = f", correlation {float(np.corrcoef(spreads, errors)[0, 1]):.2f}" if vary else ""
    ratio = math.sqrt(float((errors**2).mean() / (spreads**2).mean()))
    ratios = f"RMS error / RMS spread {ratio:.2f}"
    if expected is not None:
        after = math.sqrt(float((errors**2).mean() / (expected**2).mean()))
        ratios = f"error/spread {ratio:.2f}, error/expected {after:.2f}"
    axis.set_title(f"{number}{alike}\n{ratios}")


def _grouped(values: np.ndarray, errors: np.ndarray) -> tuple[list[float], list[float]]:
    """Root mean squares of both in groups of equal size, by the values."""
    import numpy as np

    groups = np.array_split(np.argsort(values, kind="stable"), max(1, min(_GROUPS, len(values) // _LEAST_OF_GROUP)))
    of_values, of_errors = ([float(np.sqrt(np.mean(each[g] ** 2))) for g in groups] for each in (values, errors))
    return of_values, of_errors


def _cloud(axis: Axes, x: np.ndarray, y: np.ndarray, ends: list[float]) -> None:
    """Points, or where there are many their density."""
    if len(x) <= style.POINTS // 6:
        axis.scatter(x, y, s=8, alpha=style.faintness(len(x)), color=style.colour(0), linewidths=0, rasterized=True)
        return
    scale: dict[str, Any] = {"xscale": "log", "yscale": "log", "extent": [math.log10(end) for end in ends] * 2}
    axis.hexbin(x, y, gridsize=50, bins="log", mincnt=1, linewidths=0.1, rasterized=True, **scale)
