"""The functions that draw on a worker, and the style sheets that they get."""

from __future__ import annotations

import os
from collections.abc import Sequence

PARITY = "psiflow_cli.worker.plots.parity:parity_file"
CURVES = "psiflow_cli.worker.plots.learning_curve:learning_curve"
SERIES = "psiflow_cli.worker.plots.time_series:draw"


def settings_file() -> str | None:
    """The user's matplotlibrc that a worker would not find: of the working directory, or of $MATPLOTLIBRC."""
    named = os.environ.get("MATPLOTLIBRC", "")
    for path in ("matplotlibrc", named, os.path.join(named, "matplotlibrc")):
        if os.path.isfile(path):
            return os.path.abspath(path)
    return None


def sheets(style: Sequence[str] = ()) -> list[str]:
    """What a worker applies, in this order: the user's matplotlibrc, and style sheets by name or file."""
    named = [os.path.abspath(each) if os.path.isfile(each) else each for each in style]
    return [path for path in (settings_file(),) if path] + named
