"""Profiles and surfaces of free energy, drawn where matplotlib is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from psiflow_cli.worker.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from psiflow_cli.messages import FreeEnergy


def draw(result: FreeEnergy, path: str, sheets: Sequence[str] = ()) -> None:
    """*worker*: the profile with its errors or the surface and, where it is known, the profile against time."""
    import numpy as np

    with style.applied(sheets):
        with_time = bool(result["convergence"]) and len(result["cvs"]) == 1
        figure, grid = style.axes(1 + with_time, 1, 5.2, 3.4, share=True)
        values = np.array([np.nan if value is None else value for value in result["free_energies"]])
        if len(result["cvs"]) == 2:
            _surface(figure, grid[0, 0], result, values)
        else:
            _profile(grid[0, 0], result, values)
        if with_time:
            _convergence(grid[1, 0], result)
        grid[-1, 0].set_xlabel(result["cvs"][0])
        style.save(figure, path)


def _profile(axis: Axes, result: FreeEnergy, values: object) -> None:
    import numpy as np

    x, y = np.array(result["points"][0]), np.asarray(values)
    errors = np.array([0.0 if error is None else error for error in result["errors"]])
    axis.plot(x, y, color=style.colour(0))
    if errors.any():
        axis.fill_between(x, y - errors, y + errors, color=style.colour(0), alpha=0.25, lw=0)
    axis.set_ylabel("free energy (eV)")
    axis.grid(True, alpha=0.25)


def _surface(figure: Figure, axis: Axes, result: FreeEnergy, values: object) -> None:
    import numpy as np

    x, y = (np.array(points) for points in result["points"])
    surface = np.ma.masked_invalid(np.asarray(values).reshape(len(x), len(y)).T)
    shown = axis.pcolormesh(x, y, surface, shading="nearest", cmap="viridis")
    figure.colorbar(shown, ax=axis, label="free energy (eV)")
    axis.set_ylabel(result["cvs"][1])


def _convergence(axis: Axes, result: FreeEnergy) -> None:
    import matplotlib

    colours = matplotlib.colormaps["viridis"]
    for row in result["convergence"]:
        y = [float("nan") if value is None else value for value in row["free_energies"]]
        label = f"{row['fraction']:.0%}" if round(10 * row["fraction"]) in (1, 5, 10) else "_"
        axis.plot(result["points"][0], y, color=colours(1 - 0.95 * row["fraction"]), lw=0.9, label=label)
    axis.legend(title="of the data")
    axis.set_ylabel("free energy (eV)")
    axis.grid(True, alpha=0.25)
