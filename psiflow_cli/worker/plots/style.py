"""A figure without any window system, what its axes look like, and how it is saved."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psiflow_cli.errors import nearest
from psiflow_cli.worker.failures import Fatal

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which colour-blind readers can tell apart.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
POINTS = 30_000  # more points than these are drawn as their density: single ones would hide each other
LEAST = 0.28  # inches per point of the text: a narrower panel is too small for its labels
_UNDATED: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "pdf": {"Creator": None, "Producer": None, "CreationDate": None},
    "svg": {"Creator": None, "Date": None},
}


@contextmanager
def applied(sheets: Sequence[str] = ()) -> Iterator[None]:
    """psiflow's own settings of matplotlib, over them the user's matplotlibrc, and over that style sheets.

    A sheet is a file, or one of the names that matplotlib knows. Raises Fatal for one that matplotlib cannot read.
    """
    import matplotlib
    from matplotlib import style

    now, usual = matplotlib.rcParams, matplotlib.rcParamsDefault
    with matplotlib.rc_context({key: value for key, value in _own_style().items() if now[key] == usual[key]}):
        for sheet in sheets:
            if not Path(sheet).is_file() and sheet not in style.available:
                known = [each for each in style.available if not each.startswith("_")]
                raise Fatal(f"--style {sheet}: matplotlib has no such style", nearest(sheet, known))
            with _complaints() as complaints:
                try:
                    style.use(sheet)
                except (OSError, ValueError) as error:
                    complaints.append(str(error))
            if complaints:
                raise Fatal(_located(sheet, complaints[0]), "see matplotlib's documentation of style sheets")
        yield


def _own_style() -> dict[Any, object]:
    from cycler import cycler

    return {
        "axes.prop_cycle": cycler(color=_COLOURS), "font.size": 9.0, "axes.titlesize": "medium",
        "axes.titlelocation": "left", "legend.fontsize": "small", "legend.title_fontsize": "small",
        "legend.framealpha": 0.7, "savefig.dpi": 200, "pdf.fonttype": 42, "svg.fonttype": "none",
    }  # fmt: skip


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """What matplotlib only logs: keys that it does not know."""
    complaints: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            complaints.append(record.getMessage())

    logger, handler = logging.getLogger("matplotlib"), Handler(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield complaints
    finally:
        logger.removeHandler(handler)


def _located(sheet: str, complaint: str) -> str:
    """`FILE:LINE: what` of what matplotlib says of a line, such as `Bad key a.b in file F, line 3 ('a.b: 1')`."""
    first = complaint.strip().partition("\n")[0]
    match = re.match(r"(?P<what>.+?) in file .+?, line (?P<line>\d+) (?P<text>.*)", first)
    return f"{sheet}:{match['line']}: {match['what']} {match['text']}" if match else f"{sheet}: {first}"


def colours() -> list[str]:
    """Those of the style, in turn."""
    import matplotlib

    return [str(each["color"]) for each in matplotlib.rcParams["axes.prop_cycle"] if "color" in each] or ["black"]


def colour(index: int) -> str:
    """The colour of a line or group by its number."""
    known = colours()
    return known[index % len(known)]


def figure(width: float, height: float) -> Figure:
    """An empty figure, in inches; a style that has a width of its own scales it."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    wanted, usual = (float(each["figure.figsize"][0]) for each in (matplotlib.rcParams, matplotlib.rcParamsDefault))
    scale = wanted / width if wanted != usual else 1.0
    canvas = Figure(figsize=(scale * width, scale * height), layout="constrained")
    FigureCanvasAgg(canvas)
    return canvas


def is_narrow(columns: int) -> bool:
    """Whether the style has a width of its own, in which so many panels side by side are too small for their text."""
    import matplotlib

    wanted, usual = (float(each["figure.figsize"][0]) for each in (matplotlib.rcParams, matplotlib.rcParamsDefault))
    return wanted != usual and wanted / columns < LEAST * float(matplotlib.rcParams["font.size"])


def axes(rows: int, columns: int, width: float, height: float, share: bool = False) -> tuple[Figure, np.ndarray]:
    """A figure and its `Axes`, shape (rows, columns), each of a size in inches; `share`: one x axis for a column."""
    canvas = figure(width * columns, height * rows)
    return canvas, canvas.subplots(rows, columns, squeeze=False, sharex="col" if share else "none")


def save(figure: Figure, path: str) -> None:
    """Whole or not at all, in the format of the path's suffix, and the same bytes for the same data."""
    from matplotlib import rc_context

    file = Path(path)
    temporary = file.with_name(file.name + ".tmp")
    form = file.suffix[1:].lower()
    with rc_context({"svg.hashsalt": "psiflow"}):
        figure.savefig(temporary, format=form, metadata=_UNDATED[form])
    temporary.replace(file)


def number(value: float) -> str:
    """Three digits, and never an exponent for a large number."""
    return f"{value:.3g}" if abs(value) < 999.5 else f"{value:.0f}"


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
