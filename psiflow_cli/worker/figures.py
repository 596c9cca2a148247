"""Figures of a training and of a model's errors, drawn where matplotlib is."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

Wire = dict[str, Any]

# Okabe and Ito's colours, which colour-blind readers can tell apart.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
_POINTS = 30_000
"""More points than these are drawn as their density: single ones would hide each other."""
_PANELS = (
    ("rmse_e_meV_per_atom", "energy", "meV per atom"),
    ("rmse_f_meV_per_A", "forces", "meV Å$^{-1}$"),
    ("rmse_stress_meV_per_A3", "stress", "meV Å$^{-3}$"),
)


def learning_curve(members: list[list[Wire]], path: str) -> None:
    """*worker*: loss and validation errors against the epoch, a line for each member; see `seams.Model.progress`."""
    panels = [panel for panel in _PANELS if any(panel[0] in epoch for member in members for epoch in member)]
    figure, axes = _axes(1, 1 + len(panels), 4.0, 3.4)
    _losses(axes[0][0], members)
    for axis, (key, title, unit) in zip(axes[0][1:], panels, strict=True):
        for index, member in enumerate(members):
            _line(axis, member, key, _COLOURS[index % len(_COLOURS)], f"member {index}")
        axis.set(title=title, ylabel=f"validation RMSE / {unit}")
        if len(members) > 1:
            axis.legend(fontsize="small")
    for axis in axes[0]:
        _epochs_and_decades(axis)
    _save(figure, path)


def _epochs_and_decades(axis: Any) -> None:
    """Whole epochs along the bottom, and plain numbers up a logarithmic side."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    axis.set_xlabel("epoch")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set_yscale("log")
    axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.yaxis.set_minor_formatter(NullFormatter())
    axis.grid(True, alpha=0.25)


def _losses(axis: Any, members: list[list[Wire]]) -> None:
    """Trainers scale the two losses differently, so each is drawn as a share of its first value."""
    for key, colour, style, name in (
        ("loss", _COLOURS[4], "-", "training"),
        ("valid_loss", _COLOURS[0], "--", "validation"),
    ):
        for index, member in enumerate(members):
            first = next((e[key] for e in member if _drawable(e.get(key))), None)
            if first is not None:
                scaled = [{"epoch": e["epoch"], key: e[key] / first} for e in member if _drawable(e.get(key))]
                _line(axis, scaled, key, colour, name if index == 0 else "_", style)
    axis.set(title="loss", ylabel="loss / its first value")
    if axis.lines:
        axis.legend(fontsize="small")


def _line(axis: Any, member: list[Wire], key: str, colour: str, name: str, style: str = "-") -> None:
    points = [(e["epoch"], e[key]) for e in member if _drawable(e.get(key))]
    if points:
        mark = "o" if len(points) < 20 else ""
        axis.plot(
            *zip(*points, strict=True), linestyle=style, marker=mark, markersize=3, color=colour, lw=1.3, label=name
        )


def _drawable(value: Any) -> bool:
    return value is not None and math.isfinite(value) and value > 0


def parity_file(source: str, path: str) -> None:
    """*worker*: `parity` of the frames in a JSON file, {"frames": [...]}."""
    parity(json.loads(Path(source).read_text())["frames"], path)


def parity(frames: Sequence[Wire], path: str) -> None:
    """*worker*: predictions against labels, and their differences below.

    A frame is {"symbols": [...], "label": {...}, "prediction": {...}} with `energy` (eV), `forces` (eV/Å) and `stress`
    (eV/Å³); what either lacks is left out.
    """
    panels = [panel for panel in (_energies(frames), _forces(frames), _stresses(frames)) if panel["groups"]]
    figure, axes = _axes(2, max(1, len(panels)), 4.2, 3.0, heights=(3, 1.3))
    for column, panel in enumerate(panels):
        _panel(axes[0][column], axes[1][column], panel)
    _save(figure, path)


def _energies(frames: Sequence[Wire]) -> Wire:
    """Per atom and less the mean label, or all would lie in one corner of a range of thousands of eV."""
    import numpy as np

    given = [f for f in frames if _both(f, "energy")]
    panel: Wire = {
        "groups": {},
        "unit": "meV/atom",
        "axis": "energy - mean reference / eV per atom",
        "title": "energy per atom",
    }
    if given:
        sizes = np.array([len(f["symbols"]) for f in given])
        label, prediction = (np.array([f[k]["energy"] for f in given]) / sizes for k in ("label", "prediction"))
        panel["groups"] = {"": (label - label.mean(), prediction - label.mean())}
    return panel


def _forces(frames: Sequence[Wire]) -> Wire:
    import numpy as np

    given = [f for f in frames if _both(f, "forces")]
    panel: Wire = {"groups": {}, "unit": "meV/Å", "axis": "force / eV Å$^{-1}$", "title": "force components"}
    if given:
        symbols = np.array([s for f in given for s in f["symbols"]])
        label, prediction = (np.concatenate([f[k]["forces"] for f in given]) for k in ("label", "prediction"))
        panel["groups"] = {
            str(s): (label[symbols == s].ravel(), prediction[symbols == s].ravel()) for s in np.unique(symbols)
        }
    return panel


def _stresses(frames: Sequence[Wire]) -> Wire:
    import numpy as np

    given = [f for f in frames if _both(f, "stress")]
    panel: Wire = {"groups": {}, "unit": "meV/Å³", "axis": "stress / eV Å$^{-3}$", "title": "stress components"}
    if given:
        # Shear components stay near zero while the diagonal follows the volume: told apart, both can be judged.
        label, prediction = (np.array([f[k]["stress"] for f in given]) for k in ("label", "prediction"))
        panel["groups"] = {
            name: (label[:, part].ravel(), prediction[:, part].ravel())
            for name, part in (("xx, yy, zz", slice(0, 3)), ("yz, xz, xy", slice(3, 6)))
        }
    return panel


def _both(frame: Wire, key: str) -> bool:
    return frame["label"].get(key) is not None and frame["prediction"].get(key) is not None


def _panel(upper: Any, lower: Any, panel: Wire) -> None:
    """Points on the diagonal above, 1000 × (prediction - label) below."""
    import numpy as np

    label = np.concatenate([group[0] for group in panel["groups"].values()])
    prediction = np.concatenate([group[1] for group in panel["groups"].values()])
    error = 1e3 * (prediction - label)
    if len(label) > _POINTS:
        _densities(upper, lower, label, prediction, error)
    else:
        _points(upper, lower, panel["groups"], len(label))
    ends = [min(label.min(), prediction.min()), max(label.max(), prediction.max())]
    margin = 0.05 * (ends[1] - ends[0] or 1.0)
    ends = [ends[0] - margin, ends[1] + margin]
    upper.plot(ends, ends, color="0.4", lw=0.8, zorder=0)
    upper.set(xlim=ends, ylim=ends, aspect="equal", ylabel=f"predicted {panel['axis']}")
    lower.axhline(0.0, color="0.4", lw=0.8, zorder=0)
    lower.set(xlim=ends, xlabel=f"reference {panel['axis']}", ylabel=f"error / {panel['unit']}")
    rmse, mae = math.sqrt(float(np.mean(error**2))), float(np.mean(np.abs(error)))
    title = f"{panel['title']} ({len(label)} points)\nRMSE {rmse:.3g}, MAE {mae:.3g} {panel['unit']}"
    upper.set_title(title, loc="left", fontsize="medium")


def _points(upper: Any, lower: Any, groups: Wire, count: int) -> None:
    """Every point, the fewest group on top, fainter the more there are."""
    alpha = max(0.15, min(0.8, 30 / math.sqrt(count)))
    names = sorted(groups)
    for name in sorted(groups, key=lambda n: -len(groups[n][0])):
        label, prediction = groups[name]
        look = {"s": 7, "alpha": alpha, "color": _COLOURS[names.index(name) % len(_COLOURS)], "linewidths": 0}
        upper.scatter(label, prediction, label=name or None, rasterized=True, **look)
        lower.scatter(label, 1e3 * (prediction - label), rasterized=True, **look)
    if len(groups) > 1:
        marks = upper.legend(loc="lower right", fontsize="small", markerscale=2)
        for handle in marks.legend_handles:
            handle.set_alpha(1.0)


def _densities(upper: Any, lower: Any, label: Any, prediction: Any, error: Any) -> None:
    look = {"gridsize": 70, "bins": "log", "mincnt": 1, "cmap": "viridis", "linewidths": 0.1, "rasterized": True}
    upper.hexbin(label, prediction, **look)
    lower.hexbin(label, error, **{**look, "gridsize": (70, 20)})


def _axes(
    rows: int, columns: int, width: float, height: float, heights: Iterable[float] | None = None
) -> tuple[Any, Any]:
    """A figure without any window system, and its grid of axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    FigureCanvasAgg(figure)
    ratios = None if heights is None else list(heights)
    return figure, figure.subplots(rows, columns, squeeze=False, height_ratios=ratios)


def _save(figure: Any, path: str) -> None:
    """Whole or not at all, and the same bytes for the same data."""
    target = Path(path)
    temporary = target.with_name(target.name + ".tmp")
    figure.savefig(temporary, format="png", dpi=150, metadata={"Software": None})
    temporary.replace(target)
