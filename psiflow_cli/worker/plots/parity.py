"""A model's predictions against labels: parity, errors, errors of groups, and what a committee knows of them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psiflow_cli.worker.plots import error_bars, style
from psiflow_cli.worker.plots.quantities import Quantity, of_frames

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes

    from psiflow_cli.messages import Comparison
    from psiflow_cli.worker.plots.quantities import Pair

    Extent = tuple[float, float, float, float]
    """Left, right, bottom, top."""
    Panel = tuple[str, Quantity, str]
    """What is drawn of which quantity, and of which element."""

WIDTH, SQUARE, FLAT, SPREAD = 3.6, 3.6, 1.3, 3.6  # of a column and of its panels, in inches
MOST_BARS = 600  # more points than these have no error bars: they would hide each other
_MOST_ELEMENTS = 12  # so many have a panel of their own


def parity_file(source: str, path: str, sheets: Sequence[str] = ()) -> None:
    """*worker*: `parity` of the data in a JSON file."""
    parity(json.loads(Path(source).read_text()), path, sheets)


def parity(data: Comparison, path: str, sheets: Sequence[str] = ()) -> None:
    """*worker*: a column for each quantity that frames have; below, forces by element, and errors by group."""
    with style.applied(sheets):
        _draw(data, path)


def _draw(data: Comparison, path: str) -> None:
    columns = of_frames(data["frames"], data["errors"])
    elements = sum(len(_elements(each)) for each in columns)
    width = max(1, len(columns), min(4, elements if len(columns) == 1 else -(-elements // 2)))
    rows = _rows(columns, width)
    if width > 1 and style.is_narrow(width):
        width, rows = 1, [row for each in columns for row in _rows([each], 1)]
    heights = [height for height, _ in rows]
    figure = style.figure(WIDTH * width, sum(heights))
    grid = figure.subplots(len(heights), width, squeeze=False, height_ratios=heights)
    squares: dict[str, Axes] = {}
    for axes, (_, panels) in zip(grid, rows, strict=True):
        for axis, panel in itertools.zip_longest(axes, panels):
            if panel is None:
                axis.set_axis_off()
                continue
            kind, column, element = panel
            if kind == "square":
                title = f"{column.title} ({_number(column, data)})"
                _square(axis, column, column.groups, title, column.error("all"))
                axis.tick_params(labelbottom=False)
                squares[column.name] = axis
            elif kind == "flat":
                axis.sharex(squares[column.name])
                _flat(axis, column)
            elif kind == "element":
                group = {element: column.groups[element]}
                _square(axis, column, group, f"forces on {element}", column.error("element", element))
                axis.set_xlabel(f"reference {column.axis} ({column.unit})")
            elif kind == "bars":
                error_bars.bars(axis, error_bars.of_rows(column.errors), column.error_unit)
            elif column.spreads:
                spreads, errors = column.spreads
                error_bars.spread(axis, spreads, errors, column.error_unit, column.expected)
    style.save(figure, path)


def _rows(columns: Sequence[Quantity], width: int) -> list[tuple[float, list[Panel | None]]]:
    """The height of each row, in inches, and its panels: squares, errors, elements, bars, spread of a committee."""
    elements: list[Panel | None] = [("element", each, name) for each in columns for name in _elements(each)]
    bars = [len(error_bars.of_rows(each.errors)) for each in columns]
    rows: list[tuple[float, list[Panel | None]]] = [
        (SQUARE, [("square", each, "") for each in columns]),
        (FLAT, [("flat", each, "") for each in columns]),
    ]
    rows += [(SQUARE, elements[first : first + width]) for first in range(0, len(elements), width)]
    if any(bars):
        shown = zip(columns, bars, strict=True)
        rows.append((error_bars.height(bars), [("bars", each, "") if count else None for each, count in shown]))
    if any(each.spreads for each in columns):
        rows.append((SPREAD, [("spread", each, "") if each.spreads else None for each in columns]))
    return rows


def _elements(forces: Quantity) -> list[str]:
    """Those with a panel of their own: the most frequent first; none where there is one element, or no forces."""
    if forces.name != "forces":
        return []
    names = sorted(forces.groups, key=lambda name: -len(forces.groups[name][0]))
    return names[:_MOST_ELEMENTS] if len(names) > 1 else []


def _number(column: Quantity, data: Comparison) -> str:
    """How many points there are."""
    drawn = sum(len(label) for label, _ in column.groups.values())
    count = next((row["count"] for row in column.errors if row["by"] == "all"), drawn)
    share = f", {drawn:,} drawn" if drawn < count else ""
    return f"{count:,} {column.what}{share}"


def _square(axis: Axes, column: Quantity, groups: dict[str, Pair], title: str, errors: str) -> None:
    """Points on the diagonal, with equal axes."""
    import numpy as np
    from matplotlib.ticker import MaxNLocator

    label, prediction = (np.concatenate([both[k] for both in groups.values()]) for k in (0, 1))
    low, high = float(min(label.min(), prediction.min())), float(max(label.max(), prediction.max()))
    margin = 0.05 * (high - low or 1.0)
    ends = (low - margin, high + margin)
    if len(label) > style.POINTS:
        cells = _density(axis, label, prediction, (*ends, *ends), (70, 40))
        scale = axis.inset_axes((0.56, 0.19, 0.4, 0.03))
        axis.figure.colorbar(cells, cax=scale, orientation="horizontal", label="points in a cell")
        scale.tick_params(labelsize="small")
        scale.xaxis.label.set_fontsize("small")
    else:
        _points(axis, column, groups, len(label))
    axis.plot(ends, ends, color="0.4", lw=0.8, zorder=0)
    for side in (axis.xaxis, axis.yaxis):
        side.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axis.set(xlim=ends, ylim=ends, ylabel=f"predicted {column.axis} ({column.unit})", title=title)
    axis.set_box_aspect(1)
    behind = {"facecolor": axis.get_facecolor(), "alpha": 0.7, "lw": 0, "pad": 1.5}
    axis.text(0.04, 0.96, errors, transform=axis.transAxes, va="top", fontsize="small", bbox=behind)


def _flat(axis: Axes, column: Quantity) -> None:
    """Errors against the label, on the x axis of the panel above."""
    import numpy as np

    label, prediction = (np.concatenate([both[k] for both in column.groups.values()]) for k in (0, 1))
    error = 1e3 * (prediction - label)
    most = 1.08 * float(abs(error).max()) or 1.0
    if len(label) > style.POINTS:
        _density(axis, label, error, (*axis.get_xlim(), -most, most), (70, 14))
    else:
        for name, (x, y) in column.groups.items():
            axis.scatter(x, 1e3 * (y - x), rasterized=True, **_look(column, name, len(label)))
            _spread(axis, column, name, x, 1e3 * (y - x), 1e3, len(label))
    axis.axhline(0.0, color="0.4", lw=0.8, zorder=0)
    axis.set(ylim=(-most, most), ylabel=f"error\n({column.error_unit})")
    axis.set_xlabel(f"reference {column.axis} ({column.unit})")
    axis.set_box_aspect(FLAT / SQUARE)


def _look(column: Quantity, name: str, count: int) -> dict[str, Any]:
    colour = style.colour(sorted(column.groups).index(name))
    return {"s": 7, "alpha": style.faintness(count), "color": colour, "linewidths": 0}


def _points(axis: Axes, column: Quantity, groups: dict[str, Pair], count: int) -> None:
    """Every point, the fewest group on top, fainter the more there are; with a committee's error bars if few."""
    for name in sorted(groups, key=lambda n: -len(groups[n][0])):
        label, prediction = groups[name]
        axis.scatter(label, prediction, label=name or None, rasterized=True, **_look(column, name, count))
        _spread(axis, column, name, label, prediction, 1.0, count)
    if len(groups) > 1:
        marks = axis.legend(loc="lower right", markerscale=2)
        for handle in filter(None, marks.legend_handles):
            handle.set_alpha(1.0)


def _spread(axis: Axes, column: Quantity, name: str, x: np.ndarray, y: np.ndarray, scale: float, count: int) -> None:
    """A committee's standard deviations as error bars, where points are few."""
    if name in column.bars and count <= MOST_BARS:
        colour = _look(column, name, count)["color"]
        axis.errorbar(x, y, scale * column.bars[name], fmt="none", ecolor=colour, elinewidth=0.7, alpha=0.5)


def _density(axis: Axes, x: np.ndarray, y: np.ndarray, extent: Extent, cells: tuple[int, int]) -> Any:
    """How many points there are in each cell, in colours on a logarithmic scale."""
    look: dict[str, Any] = {"bins": "log", "mincnt": 1, "cmap": None, "linewidths": 0.1, "rasterized": True}
    return axis.hexbin(x, y, gridsize=cells, extent=extent, **look)
