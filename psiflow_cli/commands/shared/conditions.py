"""The temperatures, pressures and windows of walkers as they are typed, and who begins again."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from psiflow_cli.errors import UsageError
from psiflow_cli.values import quantities

if TYPE_CHECKING:
    from psiflow_cli.stages.sample.continuing import Reset


def temperatures(value: str) -> list[list[float]]:
    """`300`, `300,450,600` (the walkers take them in turn), `100:500` (a ramp from the first to the last step)."""
    ramps = []
    for word in str(value).split(","):
        try:
            ends = [quantities.number(part, "K") for part in word.split(":")]
        except quantities.UnknownUnitError:
            raise
        except ValueError:
            ends = []
        if len(ends) not in (1, 2) or not all(math.isfinite(t) and t >= 0 for t in ends):
            raise ValueError(f"{word.strip()!r} is neither a temperature in K nor a ramp such as 100:500")
        ramps.append([ends[0], ends[-1]])
    return ramps


def pressures(value: str) -> list[float]:
    """`1000`, or `1,1000,5000` (the walkers take them in turn)."""
    pressures = []
    for word in str(value).split(","):
        try:
            number = quantities.number(word, "bar")
        except quantities.UnknownUnitError:
            raise
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise ValueError(f"{word.strip()!r} is not a pressure in bar")
        pressures.append(number)
    if len(set(pressures)) < len(pressures):
        raise ValueError("a pressure is given twice; for several walkers at each, use --walkers")
    return pressures


def check_effect(ensemble: str, thermostat: str) -> None:
    """Raise UsageError for an option of the running command that was typed and has no effect.

    A defaults file may have it: it is for other ensembles, too.
    """
    context = click.get_current_context()
    fixed, other = ensemble != "npt", ensemble != "nve" and thermostat != "langevin"
    unused = {
        "pressure": ("the volume is fixed", "add --ensemble npt") if fixed else None,
        "cell": ("the volume is fixed", "add --ensemble npt") if fixed else None,
        "friction": (f"{thermostat} has none", "leave it out") if other else None,
    }
    for option, reason in unused.items():
        if reason and context.get_parameter_source(option) is ParameterSource.COMMANDLINE:
            raise UsageError(f"--{option} has no effect: {reason[0]}", reason[1])


def windows(words: tuple[str, ...]) -> list[tuple[str, list[float]]]:
    """`AT=1.0:3.0:16`, or `AT=1,2,5`, each."""
    from psiflow_cli.stages.sample.windows import values

    return [values(word) for word in words]


def reset(value: str) -> Reset:
    """`forces:200`, in meV/Å."""
    from psiflow_cli.stages.sample.continuing import UNITS, Reset

    quantity, _, number = value.replace("=", ":").partition(":")
    try:
        limit = float(number)
    except ValueError:
        limit = math.nan
    if quantity not in UNITS or not 0 < limit < math.inf:
        raise ValueError(f"{value!r} is neither forces:NUMBER (meV/Å) nor energy:NUMBER (meV/atom)")
    return Reset(quantity, limit)
