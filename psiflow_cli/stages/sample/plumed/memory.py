"""What a bias remembers beyond one walker: earlier hills (--hills), and the walkers that fill it (--share-bias)."""

from __future__ import annotations

import math
from pathlib import Path

from psiflow_cli.errors import BadData, NoInput, UsageError
from psiflow_cli.stages.sample.plumed import files, outputs
from psiflow_cli.worker.md.plumed.actions import OPES, SHARING


def settings(path: str | None, hills: str | None, share: bool) -> dict[str, object]:
    """What `Dynamics` has of both. Raises UsageError where the input has no bias that could do it."""
    options = [option for option, is_given in (("--hills", hills), ("--share-bias", share)) if is_given]
    if not options:
        return {}
    if not path:
        raise UsageError(f"{options[0]} needs --plumed", "use an input with METAD")
    biases = [(where, each) for where, each in files.placed(path) if each.name in (*SHARING, *OPES)]
    if share:
        for where, each in biases:
            if each.name in OPES:
                problem = f"{where}: {each.name} can be shared only within one MPI run, not with --share-bias"
                raise UsageError(problem, "METAD and PBMETAD can be shared")
        if not biases:
            raise UsageError(f"--share-bias: {path} has no METAD or PBMETAD", "other biases have no history to share")
    if hills and [each.name for _, each in biases] != ["METAD"]:
        raise UsageError(
            f"--hills needs an input with exactly one METAD, unlike {path}",
            "for OPES, write STATE_RFILE=FILE in the input",
        )
    return {**({"plumed_hills": _hills(hills, path)} if hills else {}), **({"share_bias": True} if share else {})}


def _hills(path: str, plumed: str) -> str:
    """Earlier hills as PLUMED reads them. Raises NoInput, and BadData where they are in another unit of energy."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise NoInput(f"{path}: {error}", "give a HILLS file that METAD wrote") from None
    if not text.startswith("#! FIELDS time "):
        raise BadData(f"{path}:1: not a HILLS file of METAD", "such a file begins with #! FIELDS time")
    walkers = text.count(f"#! SET {outputs.WALKER} ")
    if walkers > 1 and outputs.SHARED not in text.partition("\n")[0].split():
        problem = f"{path}: hills of {walkers} walkers, each with its own bias"
        raise BadData(problem, "give those of one walker, or of walkers that filled one bias (--share-bias)")
    unit, lines = outputs.energy_unit(plumed), []
    for number, line in enumerate(text.splitlines(keepends=True), 1):
        name, _, value = line.removeprefix("#! SET ").partition(" ")
        if not line.startswith("#! SET ") or name not in (outputs.WALKER, outputs.ENERGY_UNIT):
            lines.append(line)
        elif name == outputs.ENERGY_UNIT and unit and not math.isclose(float(value), unit, rel_tol=1e-6):
            problem = f"{path}:{number}: hills in units of {float(value):g} eV, but {plumed} uses {unit:g} eV"
            raise BadData(problem, "use the same UNITS ENERGY as in the run that wrote them")
    return "".join(lines)
