"""What a sampling writes beside its trajectory, and what counts in its averages."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING

from psiflow_cli import formats, options
from psiflow_cli.values import quantities

if TYPE_CHECKING:
    from psiflow_cli.stages.sample.blocking import Discard


def discarded(value: str) -> Discard:
    """`0.2` or `20%` (a share), `1.5 ps` or `500 fs`."""
    from psiflow_cli.stages.sample.blocking import Discard

    for kind, most in (("SHARE", 1), ("ps", 1e12)):
        try:
            number = quantities.number(value, kind)
        except ValueError:
            continue
        if 0 <= number < most:
            return Discard(number, kind == "SHARE")
        break
    raise ValueError(f"{value!r} is neither a fraction such as 0.2 or 20% nor a time such as '5 ps'")


_options = options.together(
    options.output("--properties", formats.TABLE, "Table with a row per frame: .csv, or .parquet with pyarrow."),
    options.output("--plot", formats.FIGURE, "Plot of temperature, energy and pressure: .png, .pdf or .svg."),
    options.output(
        "--final", formats.FRAMES_IN_FILE, "Final structures of completed walkers, to continue from."
    ),
    options.output(
        "--stopped", formats.FRAMES_IN_FILE,
        "Last valid frames of the walkers that a limit stopped, for labelling."
    ),
    options.text(
        "--discard", "0.2", "SHARE|TIME",
        "Part at the start of each trajectory to leave out of averages: a share, or a time such as '5 ps'.", discarded,
    ),
)  # fmt: skip


def outputs(function: Callable[..., object]) -> Callable[..., object]:
    """--properties, --plot, --final, --stopped and --discard, handed to the command as one `outputs`."""

    @wraps(function)
    def command(
        properties: str | None, plot: str | None, final: str | None, stopped: str | None, discard: Discard,
        **more: object,
    ) -> None:  # fmt: skip
        from psiflow_cli.stages.sample.request import Outputs

        function(outputs=Outputs(properties, plot, final, stopped, discard), **more)

    return _options(command)
