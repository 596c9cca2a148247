"""psiflow compare: the errors of several models in one table, and whether the last of them will do."""

from __future__ import annotations

import math
import sys
from typing import Any

import click

from psiflow_cli import options
from psiflow_cli.console import columns, echo_json, in_width, note
from psiflow_cli.errors import UsageError
from psiflow_cli.values import quantities

_UNITS = {"energy": "meV/atom", "forces": "meV/Å", "stress": "MPa"}
"""In which the table is."""
QUANTITIES = tuple(_UNITS)
NO = 1
"""The exit code where the answer is no."""


def _goal(value: str) -> tuple[str, float]:
    """`forces=50`."""
    quantity, _, text = (word.strip() for word in value.partition("="))
    try:
        number = quantities.number(text, _UNITS[quantity])
    except (KeyError, ValueError):
        number = math.nan
    if quantity not in QUANTITIES or not number >= 0:
        raise ValueError(f"{value!r} is not QUANTITY=RMSE, with a quantity of {', '.join(QUANTITIES)}")
    return quantity, number


def _share(value: str) -> float:
    """`0.02` or `2%`."""
    try:
        share = quantities.share(value)
    except ValueError:
        share = math.nan
    if not 0 <= share < 1:
        raise ValueError(f"{value!r} is not a share such as 0.02 or 2%")
    return share


@click.command("compare", cls=options.Command)
@click.argument("errors", nargs=-1, required=True, metavar="ERRORS.json...")
@options.text("--reached", None, "QUANTITY=RMSE",
    "Exit with 1 unless the last model's RMSE is at most this, in the unit of the table.", _goal)  # fmt: skip
@options.text("--improved", None, "SHARE",
    "Exit with 1 unless the last model's RMSE is smaller than all earlier ones by this share.", _share)  # fmt: skip
@options.choice("--by", QUANTITIES, "forces", "Quantity that --improved compares.")
@options.count("--last", 1, "Number of last models of which --improved takes the best.")
@options.flag("--csv as_csv", "Print the table as CSV.")
@options.flag("--json as_json", "Print JSON to stdout.")
@options.talk
def command(
    errors: tuple[str, ...],
    reached: tuple[str, float] | None,
    improved: float | None,
    by: str,
    last: int,
    as_csv: bool,
    as_json: bool,
) -> None:
    """Show the errors of several models on the same frames in one table.

    ERRORS.json is the output of `psiflow evaluate --json`. The smallest RMSE of each quantity is marked with a star.

    --reached and --improved set the exit code, as test(1) does: 0 for yes, 1 for no; with both, 0 only if both hold.
    Models that were evaluated on different numbers of frames cannot be compared (exit code 65).

    \b
    Examples:
      psiflow compare small/errors.json large/errors.json
      psiflow compare round-*/errors.json --reached forces=50 && echo good enough
      psiflow compare round-*/errors.json --csv > rounds.csv
      psiflow compare old.json new.json --improved 1% > /dev/null || echo no better than before
    """
    from psiflow_cli.stages.evaluate import compare

    if as_csv and as_json:
        raise UsageError("--csv and --json together", "give one of them")
    evaluated = compare.read(errors)
    answers: dict[str, Any] = {}
    if reached:
        answers["reached"] = compare.reached(evaluated, *reached)
    if improved is not None:
        answers["improved"] = compare.improved(evaluated, by, improved, last)
        enough = "better" if answers["improved"] else f"not better by {improved:.3g}" if improved else "not better"
        note(f"{compare.verdict(evaluated, by, last)}: {enough}")
    if as_json:
        models = [{"name": e.name, "file": e.file, "frames": e.frames, "errors": e.errors} for e in evaluated]
        echo_json({"command": "compare", "models": models, **answers})
    elif as_csv:
        click.echo(compare.as_csv(evaluated), nl=False)
    else:
        click.echo(in_width(compare.as_text(evaluated), columns(sys.stdout)))
    sys.exit(0 if all(answers.values()) else NO)
