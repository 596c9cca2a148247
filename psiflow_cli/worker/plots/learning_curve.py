"""Learning curves of trainings, drawn where matplotlib is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from psiflow_cli.worker.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from psiflow_cli.messages import Curve

    Points = list[tuple[int, float]]

_PANELS = (
    ("rmse_e_meV_per_atom", "energy", "meV/atom"),
    ("rmse_f_meV_per_A", "forces", "meV/Å"),
    ("rmse_stress_meV_per_A3", "stress", "meV/Å³"),
)
_MOST_NAMES = 8  # more lines than these are not told apart
_STAGE_TWO: dict[str, Any] = {"color": "0.35", "lw": 0.9, "ls": ":"}


def learning_curve(curves: list[Curve], path: str, sheets: Sequence[str] = ()) -> None:
    """*worker*: loss and validation errors against the epoch, a line for each member of each model.

    Marked are the epoch whose weights were kept, and the start of a second stage.
    """
    with style.applied(sheets):
        _draw(curves, path)


def _draw(curves: list[Curve], path: str) -> None:
    panels = [panel for panel in _PANELS if any(panel[0] in epoch for curve in curves for epoch in curve["epochs"])]
    figure, grid = style.axes(1 + len(panels), 1, 5.6, 2.0, share=True)
    axes = list(grid[:, 0])
    colours, names = _told_apart(curves)
    _losses(axes[0], curves, colours)
    for axis, (key, title, unit) in zip(axes[1:], panels, strict=True):
        for curve, colour, name in zip(curves, colours, names, strict=True):
            points = _points(curve, key)
            same = [other for other, its in zip(curves, colours, strict=True) if its == colour]
            _line(axis, points, colour, f"{name}{_delivered(same, key)}" if name else "_")
            _mark(axis, curve, points, colour)
        axis.set_ylabel(f"{title} RMSE\n({unit})")
        if any(names) and axis.lines:
            axis.legend(ncols=1 + (sum(map(bool, names)) > 4))
    for axis in axes:
        style.plain_logarithm(axis, "y")
        axis.grid(True, alpha=0.25)
        for start in sorted({curve["stage_two"] for curve in curves if "stage_two" in curve}):
            axis.axvline(start, **_STAGE_TWO, zorder=1)
    _epochs(axes[-1])
    _explain(figure, curves)
    style.save(figure, path)


def _told_apart(curves: list[Curve]) -> tuple[list[str], list[str]]:
    """The colour of each line, and what the legends call it: of several models by model, else by member."""
    models = list(dict.fromkeys(curve["model"] for curve in curves))
    if len(models) == 1:
        if len(curves) > _MOST_NAMES:
            return [style.colour(0)] * len(curves), [f"{len(curves)} members", *[""] * (len(curves) - 1)]
        names = [f"member {i}" if len(curves) > 1 else "validation" for i in range(len(curves))]
        return [style.colour(i) for i in range(len(curves))], names
    numbers = [models.index(curve["model"]) for curve in curves]
    names = [models[n] if n not in numbers[:i] else "" for i, n in enumerate(numbers)]
    return [style.colour(n) for n in numbers], names


def _losses(axis: Axes, curves: list[Curve], colours: list[str]) -> None:
    """Trainers scale the two losses differently, so each is drawn as a share of its first value."""
    for key, line, name in (("loss", "--", "training"), ("valid_loss", "-", "validation")):
        for curve, colour in zip(curves, colours, strict=True):
            points = _points(curve, key)
            scaled = [(epoch, loss / points[0][1]) for epoch, loss in points]
            _line(axis, scaled, colour, "_", line)
            if key == "valid_loss":
                _mark(axis, curve, scaled, colour)
        axis.plot([], [], color="0.25", ls=line, label=name)
    axis.set_ylabel("loss\n(relative to the first epoch)")
    axis.legend()


def _delivered(curves: list[Curve], key: str) -> str:
    """The error of what was kept, or its range over the members of a model."""
    values = [dict(_points(curve, key)).get(curve.get("delivered", -1)) for curve in curves]
    known = sorted(
        {style.number(value): value for value in values if value is not None}.items(), key=lambda pair: pair[1]
    )
    return ": " + " to ".join(dict.fromkeys([known[0][0], known[-1][0]])) if known else ""


def _mark(axis: Axes, curve: Curve, points: Points, colour: str) -> None:
    """The epoch whose weights were kept."""
    at = [(epoch, value) for epoch, value in points if epoch == curve.get("delivered")]
    if at:
        axis.plot(*zip(*at, strict=True), ls="", marker="*", ms=9, mec="white", mew=0.7, color=colour, zorder=4)


def _line(axis: Axes, points: Points, colour: str, name: str, line: str = "-") -> None:
    if points:
        mark, width = ("o" if len(points) < 20 else "", 1.3 if len(points) < 300 else 0.7)
        look: dict[str, Any] = {"marker": mark, "ms": 3, "color": colour, "lw": width, "alpha": 0.85}
        axis.plot(*zip(*points, strict=True), ls=line, label=name, **look)


def _points(curve: Curve, key: str) -> Points:
    """The epochs, and what a logarithmic axis can show of this key."""
    values = [(epoch["epoch"], epoch.get(key)) for epoch in curve["epochs"]]
    return [(n, value) for n, value in values if isinstance(value, (int, float)) and 0 < value < math.inf]


def _epochs(axis: Axes) -> None:
    """Whole epochs along the bottom."""
    from matplotlib.ticker import MaxNLocator

    axis.set_xlabel("epoch")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))


def _explain(figure: Figure, curves: list[Curve]) -> None:
    """What the marks are, above."""
    from matplotlib.lines import Line2D

    marks = []
    if any("delivered" in curve for curve in curves):
        marks.append(Line2D([], [], color="0.25", ls="", marker="*", ms=9, label="delivered"))
    if any("stage_two" in curve for curve in curves):
        marks.append(Line2D([], [], **_STAGE_TWO, label="stage two begins"))
    if marks:
        figure.legend(handles=marks, loc="outside upper center", ncols=2, frameon=False)
