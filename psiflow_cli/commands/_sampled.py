"""What a sampling writes beside its trajectory, and what counts in its averages."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, NamedTuple

import click


class Discard(NamedTuple):
    """How much of the beginning of a path counts in no average: a share, or ps."""

    value: float
    is_share: bool


class Wanted(NamedTuple):
    """The options, as they are given."""

    properties: str | None
    plot: str | None
    final: str | None
    stopped: str | None
    discard: Discard


def _discard(_ctx: click.Context, _param: click.Parameter, value: Any) -> Discard:
    """`0.2` or `20%` (a share), `1.5 ps` or `500 fs`."""
    text = str(value).strip()
    for unit, scale, is_share in (("%", 0.01, True), ("ps", 1.0, False), ("fs", 1e-3, False), ("", 1.0, True)):
        if text.endswith(unit):
            try:
                found = Discard(scale * float(text.removesuffix(unit)), is_share)
            except ValueError:
                break
            if 0 <= found.value < (1 if is_share else 1e12):
                return found
            break
    raise click.BadParameter(f"{text!r} is neither a share such as 0.2 or 20% nor a time such as '5 ps'")


def outputs(function: Callable[..., Any]) -> Callable[..., Any]:
    """--properties, --plot, --final, --stopped and --discard, handed to the command as one `wanted`."""

    @wraps(function)
    def command(*args: Any, **given: Any) -> Any:
        return function(*args, wanted=Wanted(**{name: given.pop(name) for name in Wanted._fields}), **given)

    decorated: Callable[..., Any] = command
    for option in (
        click.option(
            "--discard", default="0.2", show_default=True, metavar="SHARE|TIME", callback=_discard,
            help="The beginning of each path, a share or as in '5 ps', that counts in no average.",
        ),
        click.option(
            "--stopped", metavar="FILE",
            help="The last sound frame of each walker that a limit stopped, for labelling, if there are any.",
        ),
        click.option(
            "--final", metavar="FILE",
            help="Where the walkers that came to the end are, as starts of another run.",
        ),
        click.option(
            "--plot", metavar="FILE", help="Temperature, energy and pressure against time; .png, .pdf or .svg."
        ),
        click.option(
            "--properties", metavar="FILE", help="A table with a row for each frame; .csv, or .parquet with pyarrow."
        ),
    ):  # fmt: skip
        decorated = option(decorated)
    return decorated
