"""A figure without any window system, what its axes look like, and how it is saved."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which colour-blind readers can tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
POINTS = 30_000  # more points than these are drawn as their density: single ones would hide each other
_UNDATED: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "pdf": {"Creator": None, "Producer": None, "CreationDate": None},
    "svg": {"Creator": None, "Date": None},
}


def axes(
    rows: int, columns: int, width: float, height: float, heights: Sequence[float] | None = None
) -> tuple[Figure, np.ndarray]:
    """A figure and its `Axes`, shape (rows, columns); `height` is that of the mean row, in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False, height_ratios=heights)


def save(figure: Figure, path: str) -> None:
    """Whole or not at all, in the format of the path's suffix, and the same bytes for the same data."""
    from matplotlib import rc_context

    target = Path(path)
    temporary = target.with_name(target.name + ".tmp")
    form = target.suffix[1:].lower()
    with rc_context({"svg.hashsalt": "psiflow", "svg.fonttype": "none"}):
        figure.savefig(temporary, format=form, dpi=150, metadata=_UNDATED[form])
    temporary.replace(target)


def faintness(count: int) -> float:
    """Fainter points the more there are."""
    return float(max(0.15, min(0.8, 30 / count**0.5))) if count else 1.0


def plain_logarithm(axis: Axes, which: str) -> None:
    """A logarithmic side with plain numbers, at 1, 2 and 5 where there are few decades."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    getattr(axis, f"set_{which}scale")("log")
    side = getattr(axis, f"{which}axis")
    low, high = getattr(axis, f"get_{which}lim")()
    side.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high / low < 1e3 else (1.0,)))
    side.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    side.set_minor_formatter(NullFormatter())
