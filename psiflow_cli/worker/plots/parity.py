"""A model's predictions against labels: parity, errors, errors of groups, and what a committee knows of them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psiflow_cli.worker.plots import error_bars, style

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes

    from psiflow_cli.messages import ComparedFrame


@dataclass
class Quantity:
    """What is drawn in one column; labels, predictions and spreads are numpy arrays in eV and Å."""

    title: str
    unit: str
    axis: str
    colours: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    """Labels and predictions of what has a colour of its own."""
    errors: list[error_bars.Bar] = field(default_factory=list)
    """RMSE (in `unit`) of all, and of each element and `config_type`, if there are several."""
    spreads: tuple[np.ndarray, np.ndarray] | None = None  # of a committee, the spread and the true error (in `unit`)
    expected: np.ndarray | None = None  # of a calibrated one, the expected error (in `unit`)


def parity_file(source: str, path: str) -> None:
    """*worker*: `parity` of the frames in a JSON file, {"frames": [...]}."""
    parity(json.loads(Path(source).read_text())["frames"], path)


def parity(frames: Sequence[ComparedFrame], path: str) -> None:
    """*worker*: a column for each quantity that frames have; below, errors by group and by a committee's spread."""
    columns = [each for each in (_energies(frames), _forces(frames), _stresses(frames)) if each.colours]
    heights = [3.6, 1.6]
    grouped, apart = any(each.errors for each in columns), any(each.spreads for each in columns)
    heights += [error_bars.height([len(each.errors) for each in columns])] * grouped + [3.8] * apart
    rows, shares = len(heights), [h / heights[0] for h in heights]
    figure, axes = style.axes(rows, max(1, len(columns)), 4.2, sum(heights) / rows, shares)
    for index, column in enumerate(columns):
        upper, lower, *rest = axes[:, index]
        _panel(upper, lower, column)
        if grouped:
            _or_nothing(rest[0], error_bars.bars, column.errors, column.errors, column.unit)
        if apart:
            drawn = (*(column.spreads or ()), column.unit, column.expected)
            _or_nothing(rest[-1], error_bars.spread, column.spreads, *drawn)
    style.save(figure, path)


def _or_nothing(axis: Axes, draw: Callable[..., None], data: object, *arguments: object) -> None:
    """One panel, or an empty place where there is nothing to draw."""
    if data:
        draw(axis, *arguments)
    else:
        axis.set_axis_off()


def _energies(frames: Sequence[ComparedFrame]) -> Quantity:
    """Per atom and less the mean label, or all would lie in one corner of a range of thousands of eV."""
    import numpy as np

    column = Quantity("energy per atom", "meV/atom", "energy - mean / eV atom$^{-1}$")
    both = [f for f in frames if _both(f, "energy")]
    if both:
        sizes = np.array([len(f["symbols"]) for f in both])
        label, prediction = (np.array([f[k]["energy"] for f in both]) / sizes for k in ("label", "prediction"))
        column.colours = {"": (label - label.mean(), prediction - label.mean())}
        errors = 1e3 * (prediction - label)
        column.errors = _by_group(errors, both, [1] * len(both))
        if all("energy_std" in f["prediction"] for f in both):
            column.spreads = 1e3 * np.array([f["prediction"]["energy_std"] for f in both]) / sizes, abs(errors)
        if all("energy_expected_error" in f["prediction"] for f in both):
            column.expected = 1e3 * np.array([f["prediction"]["energy_expected_error"] for f in both]) / sizes
    return column


def _forces(frames: Sequence[ComparedFrame]) -> Quantity:
    import numpy as np

    column = Quantity("force components", "meV/Å", "force / eV Å$^{-1}$")
    both = [f for f in frames if _both(f, "forces")]
    if both:
        symbols = np.array([s for f in both for s in f["symbols"]])
        label, prediction = (np.concatenate([f[k]["forces"] for f in both]) for k in ("label", "prediction"))
        for s in np.unique(symbols):
            column.colours[str(s)] = label[symbols == s].ravel(), prediction[symbols == s].ravel()
        errors = 1e3 * (prediction - label)
        column.errors = _by_group(errors, both, [len(f["symbols"]) for f in both], symbols)
        if all("forces_std" in f["prediction"] for f in both):
            spreads = 1e3 * np.concatenate([f["prediction"]["forces_std"] for f in both])
            column.spreads = spreads, np.linalg.norm(errors, axis=1)
        if all("forces_expected_error" in f["prediction"] for f in both):
            column.expected = 1e3 * np.concatenate([f["prediction"]["forces_expected_error"] for f in both])
    return column


def _stresses(frames: Sequence[ComparedFrame]) -> Quantity:
    import numpy as np

    column = Quantity("stress components", "meV/Å³", "stress / eV Å$^{-3}$")
    both = [f for f in frames if _both(f, "stress")]
    if both:
        # Shear components stay near zero while the diagonal follows the volume: told apart, both can be judged.
        label, prediction = (np.array([f[k]["stress"] for f in both]) for k in ("label", "prediction"))
        for name, part in (("xx, yy, zz", slice(0, 3)), ("yz, xz, xy", slice(3, 6))):
            column.colours[name] = label[:, part].ravel(), prediction[:, part].ravel()
        column.errors = _by_group(1e3 * (prediction - label), both, [1] * len(both))
    return column


def _both(frame: ComparedFrame, key: str) -> bool:
    return frame["label"].get(key) is not None and frame["prediction"].get(key) is not None


def _by_group(
    errors: np.ndarray, frames: Sequence[ComparedFrame], rows: Sequence[int], symbols: np.ndarray | None = None
) -> list[error_bars.Bar]:
    """RMSE of all, of each element, and of each `config_type`; empty if there is nothing to tell apart.

    Each frame has so many `rows` of errors; `symbols` are the elements of the rows.
    """
    import numpy as np

    def rmse(where: np.ndarray | slice) -> float:
        return math.sqrt(float(np.mean(errors[where] ** 2)))

    kinds = np.repeat([str(f.get("config_type", "")) for f in frames], rows)
    bars = []
    for names, colour in ((symbols, style.COLOURS[0]), (kinds, style.COLOURS[2])):
        groups = [] if names is None else [str(name) for name in np.unique(names)]
        if len(groups) > 1:
            bars += [(name, rmse(np.flatnonzero(names == name)), colour) for name in groups if name]
    return [("all", rmse(slice(None)), "0.45"), *bars] if bars else []


def _panel(upper: Axes, lower: Axes, column: Quantity) -> None:
    """Points on the diagonal above, 1000 × (prediction - label) below."""
    import numpy as np

    label, prediction = (np.concatenate([both[k] for both in column.colours.values()]) for k in (0, 1))
    error = 1e3 * (prediction - label)
    low, high = float(min(label.min(), prediction.min())), float(max(label.max(), prediction.max()))
    margin = 0.05 * (high - low or 1.0)
    ends = (low - margin, high + margin)
    if len(label) > style.POINTS:
        _densities(upper, lower, label, prediction, ends)
    else:
        _points(upper, lower, column.colours, len(label))
    upper.plot(ends, ends, color="0.4", lw=0.8, zorder=0)
    upper.set(xlim=ends, ylim=ends, aspect="equal", ylabel=f"predicted {column.axis}")
    lower.axhline(0.0, color="0.4", lw=0.8, zorder=0)
    lower.set(xlim=ends, xlabel=f"reference {column.axis}", ylabel=f"error / {column.unit}")
    rmse, mae = math.sqrt(float(np.mean(error**2))), float(np.mean(np.abs(error)))
    title = f"{column.title} ({len(label)} points)\nRMSE {rmse:.3g}, MAE {mae:.3g} {column.unit}"
    upper.set_title(title, loc="left", fontsize="medium")


def _points(upper: Axes, lower: Axes, colours: dict[str, tuple[np.ndarray, np.ndarray]], count: int) -> None:
    """Every point, the fewest group on top, fainter the more there are."""
    alpha = style.faintness(count)
    names = sorted(colours)
    for name in sorted(colours, key=lambda n: -len(colours[n][0])):
        label, prediction = colours[name]
        colour = style.COLOURS[names.index(name) % len(style.COLOURS)]
        look: dict[str, Any] = {"s": 7, "alpha": alpha, "color": colour, "linewidths": 0}
        upper.scatter(label, prediction, label=name or None, rasterized=True, **look)
        lower.scatter(label, 1e3 * (prediction - label), rasterized=True, **look)
    if len(colours) > 1:
        marks = upper.legend(loc="lower right", fontsize="small", markerscale=2)
        for handle in filter(None, marks.legend_handles):
            handle.set_alpha(1.0)


def _densities(upper: Axes, lower: Axes, label: np.ndarray, prediction: np.ndarray, ends: tuple[float, float]) -> None:
    error = 1e3 * (prediction - label)
    look: dict[str, Any] = {"bins": "log", "mincnt": 1, "cmap": "viridis", "linewidths": 0.1, "rasterized": True}
    upper.hexbin(label, prediction, gridsize=70, extent=(*ends, *ends), **look)
    lower.hexbin(label, error, gridsize=(70, 16), extent=(*ends, error.min(), error.max()), **look)
