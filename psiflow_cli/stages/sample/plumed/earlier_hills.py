"""Earlier hills (--hills) in the form in which the PLUMED of a new run reads them and adds its own.

A new run starts at time 0. Times of earlier hills are moved to end there, so that times never decrease in the file that
contains both, and every hill precedes what has felt it. Hills of walkers that filled one bias have a column `clock`,
which PLUMED writes only in such a run: the earlier hills get the columns of the new ones.
"""

from __future__ import annotations

import math
from pathlib import Path

from psiflow_cli.errors import BadData, NoInput, counted
from psiflow_cli.stages.sample.plumed import outputs

_HINT = "give a HILLS file that METAD wrote"
_COLUMNS = ("time", "height", "biasf")


def read(path: str, plumed: str, share: bool) -> str:
    """The hills of a file, for the PLUMED input `plumed`. Raises NoInput, BadData.

    Each energy and each time has to be in the units of that input, as far as the file names its units.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise NoInput(f"{path}: {error.strerror}", _HINT) from None
    except UnicodeDecodeError:
        raise BadData(f"{path}: not a text file", _HINT) from None
    fields, constants, rows, walkers = _parsed(path, lines, outputs.units(plumed))
    if walkers > 1 and outputs.SHARED not in fields:
        problem = f"{path}: hills of {counted(walkers, 'walker')}, each with its own bias"
        raise BadData(problem, "give those of one walker, or of walkers that filled one bias (--share-bias)")
    if not rows:
        raise BadData(f"{path}: it contains no hills", _HINT)
    rows.sort(key=lambda row: row[0])
    last = rows[-1][0]
    columns = [name for name in fields[1:] if name != outputs.SHARED]
    clock = ["0"] if share else []
    return "".join(
        f"{line}\n"
        for line in (
            f"#! FIELDS time {' '.join([*columns, *([outputs.SHARED] if share else [])])}",
            *constants,
            *(" ".join([f"{time - last:.15g}", *words, *clock]) for time, words in rows),
        )
    )


def _parsed(
    path: str, lines: list[str], units: dict[str, float]
) -> tuple[list[str], list[str], list[tuple[float, list[str]]], int]:
    """The fields of the first header, its constants, each row as its time and its other words, and the walkers."""
    first: list[str] = []
    fields: list[str] = []
    constants: dict[str, None] = {}
    rows: list[tuple[float, list[str]]] = []
    walkers = 0
    for number, line in enumerate(lines, 1):
        words = line.split()
        if words[:2] == ["#!", "FIELDS"]:
            fields = words[2:]
            first = first or fields
            if not set(_COLUMNS) <= set(fields) or not any(name.startswith("sigma_") for name in fields):
                problem = f"{path}:{number}: not a HILLS file of METAD"
                raise BadData(problem, f"such a file has the fields {', '.join(_COLUMNS)} and sigma_...")
        elif words[:2] == ["#!", "SET"] and len(words) > 3:
            walkers += words[2] == outputs.WALKER
            if unit := units.get(words[2]):
                what, short = outputs.UNIT_NAMES[words[2]]
                own = outputs.constant(f"{path}:{number}", words[2], words[3])
                if not math.isclose(own, unit, rel_tol=1e-6):
                    problem = f"{path}:{number}: {what} in units of {own:g} {short}, but those of the PLUMED input"
                    raise BadData(f"{problem} are {unit:g} {short}", "use the same UNITS")
            elif words[2] not in (outputs.WALKER, *outputs.UNIT_NAMES):
                constants[line] = None
        elif words and not words[0].startswith("#"):
            if not fields:
                raise BadData(f"{path}:{number}: not a HILLS file of METAD", "such a file begins with #! FIELDS time")
            try:
                if len(words) != len(fields):
                    raise ValueError
                others = [
                    word for name, word in zip(fields, words, strict=True) if name not in ("time", outputs.SHARED)
                ]
                if not all(math.isfinite(float(word)) for word in words):
                    raise ValueError
                rows.append((float(words[fields.index("time")]), others))
            except ValueError:
                problem = f"{path}:{number}: not a hill: {counted(len(fields), 'number')} expected"
                raise BadData(problem, "correct this line, or remove it") from None
    return first, list(constants), rows, walkers
