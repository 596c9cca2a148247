"""How sampling went: temperature, energy, pressure and volume against time, of every walker or of crowds of them."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

from psiflow_cli.worker.plots import style

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from typing_extensions import Unpack

    from psiflow_cli.messages import DrawnWalker

    Table = dict[str, np.ndarray]
    """By column; shape (frames,)."""
    Series = tuple[np.ndarray, np.ndarray]
    """Times and values; shape (frames,)."""

LINES = 8  # more walkers than these are drawn as the ranges that hold most of them
POINTS = 1500  # a line of more points is as dense as the page
BINS = 150
_DISCARDED = "not in the averages"
_WINDOW = 0.04  # of the whole, for the running mean
_NEEDED = ("time_fs", "temperature_K", "model_energy_eV", "total_energy_eV", "pressure_bar", "volume_A3")


@dataclass
class Panel:
    """One quantity: of each walker times (in the unit of the page) and values."""

    label: str
    paths: dict[int, Series]
    levels: Sequence[float] = ()  # what it should be


class _Shown(TypedDict):
    """What the page says beside the table."""

    walkers: list[DrawnWalker]
    pressure: float | None  # the barostat's in bar
    duration: float  # fs
    discard: float  # what does not count at its beginning, in fs


def draw(source: str, path: str, sheets: Sequence[str] = (), **shown: Unpack[_Shown]) -> None:
    """*worker*: a page of panels from the table in a CSV file."""
    with style.applied(sheets):
        _draw(_read(source), path, **shown)


def _draw(
    paths: dict[int, Table], path: str, walkers: list[DrawnWalker], pressure: float | None, duration: float,
    discard: float,
) -> None:  # fmt: skip
    unit, scale = ("fs", 1.0) if duration < 2e3 else ("ps", 1e-3)
    panels = [panel for panel in _panels(paths, walkers, pressure, scale) if panel.paths]
    figure, grid = style.axes(max(1, len(panels)), 1, 6.6, 2.0, share=True)
    crowds = _crowds(walkers)
    for axis, panel in zip(grid[:, 0], panels, strict=False):
        if discard > 0:
            axis.axvspan(0, discard * scale, color="0.93", lw=0, zorder=0, label=_DISCARDED)
        if len(walkers) <= LINES:
            _lines(axis, panel, walkers)
        else:
            _ranges(axis, panel, crowds)
        for level in panel.levels:
            axis.axhline(level, color="0.25", lw=0.9, ls=(0, (5, 3)), zorder=3)
        axis.set(ylabel=panel.label, xlim=(0, duration * scale), ylim=_limits(panel))
        axis.grid(True, alpha=0.25)
    grid[-1, 0].set_xlabel(f"time ({unit})")
    _ramps(grid[0, 0], walkers, duration * scale)
    if not panels:
        grid[0, 0].set_title("no frames were recorded", loc="center")
    _explain(figure, grid[0, 0], walkers)
    style.save(figure, path)


def _read(source: str) -> dict[int, Table]:
    """Frames of one step (beads) become their mean; what is empty is not a number."""
    import numpy as np

    rows: dict[int, list[list[float]]] = {}
    with open(source, newline="") as stream:
        table = csv.DictReader(stream)
        names = [name for name in _NEEDED if name in (table.fieldnames or ())]
        for row in table:
            rows.setdefault(int(row["walker"]), []).append([float(row[name] or "nan") for name in names])
    tables: dict[int, Table] = {}
    for walker, numbers in rows.items():
        values = np.array(numbers)
        first = np.flatnonzero(np.diff(values[:, 0], prepend=-1.0))
        counts = np.diff(first, append=len(values))
        means = np.add.reduceat(values, first, axis=0) / counts[:, None]
        tables[walker] = dict(zip(names, means.T, strict=True))
    return tables


def _panels(
    paths: dict[int, Table], walkers: list[DrawnWalker], pressure: float | None, scale: float
) -> Iterator[Panel]:
    import numpy as np

    targets = [walker["target"] for walker in walkers if walker["target"]]
    constant = sorted({first for first, last in targets if first == last})

    def series(name: str) -> dict[int, Series]:
        tables = {w: p for w, p in paths.items() if name in p and not np.isnan(p[name]).all()}
        return {w: (scale * p["time_fs"], p[name]) for w, p in tables.items()}

    yield Panel("temperature (K)", series("temperature_K"), constant if len(constant) <= LINES else ())
    per = "eV" if any(not walker["atoms"] for walker in walkers) else "meV/atom"
    yield Panel(f"potential energy\n- mean ({per})", _relative(series("model_energy_eV"), walkers))
    if not targets:
        conserved = _relative(series("total_energy_eV"), [{**walker, "start": walker["walker"]} for walker in walkers])
        yield Panel(f"total energy\n- each mean ({per})", conserved)
    yield Panel("pressure (bar)", series("pressure_bar"), () if pressure is None else (pressure,))
    volumes = series("volume_A3")
    if any(np.ptp(values) > 0 for _, values in volumes.values()):
        yield Panel("volume (Å³)", volumes)


def _relative(paths: dict[int, Series], walkers: list[DrawnWalker]) -> dict[int, Series]:
    """Energies (eV), less the mean of all walkers from one frame, in meV per atom; in eV where atoms are unknown."""
    import numpy as np

    energies = {}
    known = all(walker["atoms"] for walker in walkers)
    for start in sorted({walker["start"] for walker in walkers}):
        members = [w for w in walkers if w["start"] == start and w["walker"] in paths]
        if members:
            mean = np.concatenate([paths[w["walker"]][1] for w in members]).mean()
            for w in members:
                times, values = paths[w["walker"]]
                energies[w["walker"]] = times, (values - mean) * (1e3 / w["atoms"] if known else 1.0)
    return dict(sorted(energies.items()))


def _lines(axis: Axes, panel: Panel, walkers: list[DrawnWalker]) -> None:
    """What each walker does, thin, its running mean, and a cross where it was stopped."""
    import numpy as np

    stopped = {walker["walker"]: walker["stopped"] for walker in walkers}
    names = {walker["walker"]: walker.get("name", f"walker {walker['walker']}") for walker in walkers}
    longest = max(len(times) for times, _ in panel.paths.values())
    width, step = max(1, round(_WINDOW * longest)), max(1, longest // POINTS)
    for walker, (times, values) in panel.paths.items():
        colour = style.colour(list(stopped).index(walker))
        smooth = 5 <= width <= len(values)
        look = {"lw": 0.6, "alpha": 0.3} if smooth else {"lw": 0.8, "label": names[walker]}
        axis.plot(times[::step], values[::step], color=colour, **look)
        if smooth:
            kernel = np.full(width, 1.0 / width)
            mean, middle = np.convolve(values, kernel, "valid"), np.convolve(times, kernel, "valid")
            axis.plot(middle[::step], mean[::step], color=colour, lw=1.5, label=names[walker])
        if stopped[walker]:
            axis.plot(times[-1:], values[-1:], ls="", marker="x", ms=6, mew=1.5, color=colour, zorder=4)


def _ranges(axis: Axes, panel: Panel, crowds: dict[str, list[int]]) -> None:
    """The median of a crowd, and where half and nine tenths of it are."""
    import numpy as np

    for index, (name, members) in enumerate(crowds.items()):
        paths = [panel.paths[walker] for walker in members if walker in panel.paths]
        if not paths:
            continue
        times, values = (np.concatenate([each[k] for each in paths]) for k in (0, 1))
        order = np.argsort(times, kind="stable")
        times, values = times[order], values[order]
        moments = np.unique(times)
        edges = [part[0] for part in np.array_split(moments, min(BINS, len(moments)))]
        bins = np.split(np.arange(len(times)), np.searchsorted(times, edges[1:]))
        middle = [times[part].mean() for part in bins]
        quantiles = [np.quantile(values[part], (0.05, 0.25, 0.5, 0.75, 0.95)) for part in bins]
        low, lower, median, upper, high = np.array(quantiles).T
        colour = style.colour(index)
        axis.fill_between(middle, low, high, color=colour, alpha=0.15, lw=0)
        axis.fill_between(middle, lower, upper, color=colour, alpha=0.3, lw=0)
        axis.plot(middle, median, color=colour, lw=1.5, label=name)


def _crowds(walkers: list[DrawnWalker]) -> dict[str, list[int]]:
    """Walkers by temperature, or all together where there are too many temperatures to tell apart."""
    crowds: dict[str, list[int]] = {}
    for walker in sorted(walkers, key=lambda w: (w["target"] or [0.0], w["walker"])):
        first, last = walker["target"] or (0.0, 0.0)
        name = "walkers" if not walker["target"] else f"{first:g} K" if first == last else f"{first:g} to {last:g} K"
        crowds.setdefault(name, []).append(walker["walker"])
    return crowds if len(crowds) <= LINES else {"walkers": [w for members in crowds.values() for w in members]}


def _limits(panel: Panel) -> tuple[float, float]:
    """Where nearly all is: the last steps of a walker that explodes would hide the others."""
    import numpy as np

    values = np.concatenate([values for _, values in panel.paths.values()] + [np.array(panel.levels, dtype=float)])
    low, high = np.quantile(values, (0.01, 0.99))
    room = 0.6 * (high - low) or 1e-9 + 0.05 * abs(high)
    bottom, top = max(values.min(), low - room), min(values.max(), high + room)
    margin = 0.05 * (top - bottom) or room
    return float(bottom - margin), float(top + margin)


def _ramps(axis: Axes, walkers: list[DrawnWalker], end: float) -> None:
    """The thermostat's way up or down."""
    for first, last in sorted({tuple(w["target"]) for w in walkers if w["target"]}):
        if first != last:
            axis.plot([0, end], [first, last], color="0.25", lw=0.9, ls=(0, (5, 3)), zorder=3)


def _explain(figure: Figure, axis: Axes, walkers: list[DrawnWalker]) -> None:
    """What the colours and lines are, above, and how many walkers were stopped."""
    from matplotlib.lines import Line2D

    handles, labels = axis.get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda index: labels[index] == _DISCARDED)
    handles, labels = [handles[i] for i in order], [labels[i] for i in order]
    if any(walker["target"] for walker in walkers):
        handles.append(Line2D([], [], color="0.25", lw=0.9, ls=(0, (5, 3))))
        labels.append("target")
    stopped = sum(walker["stopped"] for walker in walkers)
    if stopped:
        handles.append(Line2D([], [], color="0.25", ls="", marker="x" if len(walkers) <= LINES else ""))
        labels.append(f"{stopped} of {len(walkers)} stopped")
    columns = len(labels) if len(labels) <= 5 else -(-len(labels) // 2)
    look: dict[str, Any] = {"loc": "outside upper center", "ncols": min(6, columns)}
    if len(walkers) > LINES:
        look.update(title="median, and ranges of the middle 50 % and 90 % of the walkers")
    figure.legend(handles, labels, frameon=False, **look)
