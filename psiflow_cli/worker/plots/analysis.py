"""The curves of an analysis: a panel for each quantity, a line for each element or pair, and its error as a band."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from psiflow_cli.worker.plots import style

if TYPE_CHECKING:
    from psiflow_cli.messages import AnalysedCurve

_LABELS = {
    "rdf": ("r (Å)", "g(r)"), "coordination": ("r (Å)", "neighbours up to r"),
    "msd": ("time (ps)", "mean squared\ndisplacement (Å²)"),
    "vacf": ("time (fs)", "autocorrelation\nof velocities"), "spectrum": ("frequency (cm$^{-1}$)", "spectrum (fs)"),
}  # fmt: skip
_SCALES = {"msd": (1e-3, 1.0), "spectrum": (33.35640951981521, 1e3)}  # of x, and of y (1/THz in fs)


def draw(curves: list[AnalysedCurve], path: str, sheets: Sequence[str] = ()) -> None:
    """*worker*: draw the curves into a figure."""
    import numpy as np

    with style.applied(sheets):
        quantities = list(dict.fromkeys(curve["quantity"] for curve in curves))
        figure, grid = style.axes(len(quantities), 1, 5.5, 2.4)
        for axis, quantity in zip(grid[:, 0], quantities, strict=True):
            scale, height = _SCALES.get(quantity, (1.0, 1.0))
            for index, curve in enumerate(each for each in curves if each["quantity"] == quantity):
                x, y = scale * np.array(curve["x"]), height * np.array(curve["y"])
                axis.plot(x, y, color=style.colour(index), lw=1.2, label=curve["of"])
                if curve["error"]:
                    error = height * np.array(curve["error"])
                    axis.fill_between(x, y - error, y + error, color=style.colour(index), alpha=0.25, lw=0)
            axis.set(xlabel=_LABELS[quantity][0], ylabel=_LABELS[quantity][1])
            axis.grid(True, alpha=0.25)
            axis.legend()
        style.save(figure, path)
