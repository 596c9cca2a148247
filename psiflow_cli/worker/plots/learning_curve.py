"""The learning curve of a training, drawn where matplotlib is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from psiflow_cli.worker.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from psiflow_cli.messages import Epoch

_PANELS = (
    ("rmse_e_meV_per_atom", "energy", "meV per atom"),
    ("rmse_f_meV_per_A", "forces", "meV Å$^{-1}$"),
    ("rmse_stress_meV_per_A3", "stress", "meV Å$^{-3}$"),
)


def learning_curve(members: list[list[Epoch]], path: str) -> None:
    """*worker*: loss and validation errors against the epoch, a line for each member."""
    panels = [panel for panel in _PANELS if any(panel[0] in epoch for member in members for epoch in member)]
    figure, axes = style.axes(1, 1 + len(panels), 4.0, 3.4)
    _losses(axes[0][0], members)
    for axis, (key, title, unit) in zip(axes[0][1:], panels, strict=True):
        for index, member in enumerate(members):
            points = _points(member, key)
            last = f"{points[-1][1]:.3g}" if points else "unknown"
            _line(axis, points, style.COLOURS[index % len(style.COLOURS)], f"member {index}: {last}")
        axis.set(title=title, ylabel=f"validation RMSE / {unit}")
        axis.legend(fontsize="small", title="at the end", title_fontsize="small")
    for axis in axes[0]:
        _epochs_and_decades(axis)
    style.save(figure, path)


def _epochs_and_decades(axis: Axes) -> None:
    """Whole epochs along the bottom, and plain numbers up a logarithmic side."""
    from matplotlib.ticker import MaxNLocator

    axis.set_xlabel("epoch")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    style.plain_logarithm(axis, "y")
    axis.grid(True, alpha=0.25)


def _losses(axis: Axes, members: list[list[Epoch]]) -> None:
    """Trainers scale the two losses differently, so each is drawn as a share of its first value."""
    for key, colour, line, name in (
        ("loss", style.COLOURS[4], "-", "training"),
        ("valid_loss", style.COLOURS[0], "--", "validation"),
    ):
        for index, member in enumerate(members):
            points = _points(member, key)
            scaled = [(epoch, loss / points[0][1]) for epoch, loss in points]
            _line(axis, scaled, colour, name if index == 0 else "_", line)
    axis.set(title="loss", ylabel="loss / its first value")
    if axis.lines:
        axis.legend(fontsize="small")


def _line(axis: Axes, points: list[tuple[int, float]], colour: str, name: str, line: str = "-") -> None:
    if points:
        mark, width = ("o" if len(points) < 20 else "", 1.3 if len(points) < 300 else 0.6)
        axis.plot(
            *zip(*points, strict=True), linestyle=line, marker=mark, markersize=3, color=colour, lw=width, label=name
        )


def _points(member: list[Epoch], key: str) -> list[tuple[int, float]]:
    """The epochs, and what a logarithmic axis can show of this key."""
    values = [(epoch["epoch"], epoch.get(key)) for epoch in member]
    return [(n, value) for n, value in values if isinstance(value, (int, float)) and 0 < value < math.inf]
