"""The learning curve of a training, drawn where matplotlib is."""

from __future__ import annotations

import math
from typing import Any

from psiflow_cli.worker.plots import style

Wire = dict[str, Any]

_PANELS = (
    ("rmse_e_meV_per_atom", "energy", "meV per atom"),
    ("rmse_f_meV_per_A", "forces", "meV Å$^{-1}$"),
    ("rmse_stress_meV_per_A3", "stress", "meV Å$^{-3}$"),
)


def learning_curve(members: list[list[Wire]], path: str) -> None:
    """*worker*: loss and validation errors against the epoch, a line for each member."""
    panels = [panel for panel in _PANELS if any(panel[0] in epoch for member in members for epoch in member)]
    figure, axes = style.axes(1, 1 + len(panels), 4.0, 3.4)
    _losses(axes[0][0], members)
    for axis, (key, title, unit) in zip(axes[0][1:], panels, strict=True):
        for index, member in enumerate(members):
            _line(axis, member, key, style.COLOURS[index % len(style.COLOURS)], f"member {index}: {_last(member, key)}")
        axis.set(title=title, ylabel=f"validation RMSE / {unit}")
        axis.legend(fontsize="small", title="at the end", title_fontsize="small")
    for axis in axes[0]:
        _epochs_and_decades(axis)
    style.save(figure, path)


def _epochs_and_decades(axis: Any) -> None:
    """Whole epochs along the bottom, and plain numbers up a logarithmic side."""
    from matplotlib.ticker import MaxNLocator

    axis.set_xlabel("epoch")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    style.plain_logarithm(axis, "y")
    axis.grid(True, alpha=0.25)


def _losses(axis: Any, members: list[list[Wire]]) -> None:
    """Trainers scale the two losses differently, so each is drawn as a share of its first value."""
    for key, colour, line, name in (
        ("loss", style.COLOURS[4], "-", "training"),
        ("valid_loss", style.COLOURS[0], "--", "validation"),
    ):
        for index, member in enumerate(members):
            first = next((e[key] for e in member if _drawable(e.get(key))), None)
            if first is not None:
                scaled = [{"epoch": e["epoch"], key: e[key] / first} for e in member if _drawable(e.get(key))]
                _line(axis, scaled, key, colour, name if index == 0 else "_", line)
    axis.set(title="loss", ylabel="loss / its first value")
    if axis.lines:
        axis.legend(fontsize="small")


def _line(axis: Any, member: list[Wire], key: str, colour: str, name: str, line: str = "-") -> None:
    points = [(e["epoch"], e[key]) for e in member if _drawable(e.get(key))]
    if points:
        mark, width = ("o" if len(points) < 20 else "", 1.3 if len(points) < 300 else 0.6)
        axis.plot(
            *zip(*points, strict=True), linestyle=line, marker=mark, markersize=3, color=colour, lw=width, label=name
        )


def _last(member: list[Wire], key: str) -> str:
    return next((f"{e[key]:.3g}" for e in reversed(member) if _drawable(e.get(key))), "unknown")


def _drawable(value: Any) -> bool:
    return value is not None and math.isfinite(value) and value > 0
