"""A sum as an ASE calculator that needs nothing of psiflow: a script, and a folder for each model."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from psiflow_cli.errors import USAGE
from psiflow_cli.potentials.sum import lammps, terms
from psiflow_cli.worker.failures import Fatal
from psiflow_cli.worker.models import calculators
from psiflow_cli.worker.pool import call

if TYPE_CHECKING:
    from psiflow_cli.messages import Context

_SCRIPT = '''"""A sum of potentials as an ASE calculator; it needs what its terms need, and nothing of psiflow.

    from calculator import calculator
    atoms.calc = calculator()

or, from a shell, energies (eV) and largest forces (eV/Å): python calculator.py FRAMES.xyz
"""

import importlib.util
import inspect
import sys
from pathlib import Path

from ase.calculators.mixing import LinearCombinationCalculator

FACTORS = {factors}


def calculator(device={device!r}):
    """The sum of: {what}."""
    terms = [
{lines}
    ]
    return LinearCombinationCalculator(terms, FACTORS)


def _of(file, **options):
    """The calculator that a Python file of a term gives."""
    path = Path(__file__).resolve().parent / file
    if (folder := str(path.parent)) not in sys.path:
        sys.path.append(folder)
    spec = importlib.util.spec_from_file_location(file.replace("/", "_").removesuffix(".py"), path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    known = inspect.signature(module.calculator).parameters
    return module.calculator(**{{name: value for name, value in options.items() if name in known}})


if __name__ == "__main__":
    from ase.io import iread

    calc = calculator()
    for atoms in iread(sys.argv[1]):
        atoms.calc = calc
        print(f"{{atoms.get_potential_energy():.8f}} {{abs(atoms.get_forces()).max():.6f}}")
'''


def export(members: list[str], target: str, form: str, folder: str, context: Context) -> str:
    """*worker*: see `protocols.Exports`. Raises Fatal where a term has no form of its own for ASE."""
    if target == "lammps":
        return str(lammps.export(members[0], Path(folder), context))
    place = Path(folder) / "sum"
    place.mkdir()
    of_members = [terms.read(member, context) for member in members]
    lines = []
    for number, of_term in enumerate(zip(*of_members, strict=True)):
        distinct = list({term.key: term for term in of_term}.values())
        lines.append(f"        {_call(distinct, place, f'term_{number}')},\n")
    first = of_members[0]
    script = _SCRIPT.format(
        factors=[term.factor for term in first], lines="".join(lines).rstrip("\n"),
        device=context.get("device") or "cpu",
        what=", ".join(f"{term.factor:g} * {term.what}" for term in first).replace("\\", "/").replace('"', "'"),
    )  # fmt: skip
    (place / "calculator.py").write_text(script, encoding="utf-8")
    return str(place)


def _call(of_term: list[terms.Term], place: Path, name: str) -> str:
    """The Python expression that makes the calculator of a term; of a committee, of all its members."""
    first = of_term[0]
    if "member" not in first.entry:
        try:
            return str(call.resolve(f"{first.reference}:ase_calculator")(first.entry["settings"]))
        except AttributeError:
            problem = f"{first.what} is a reference that has no ASE calculator"
            raise Fatal(problem, "the sum can still be used in psiflow evaluate and label", USAGE) from None
    if first.entry["family"] == "python":
        file = Path(first.weights)
        shutil.copytree(file.parent, place / name)
        return f'_of("{name}/{file.name}", device=device, dtype="{first.context.get("dtype") or "float64"}")'
    try:
        make = call.resolve(f"{calculators.module(first.entry['family'])}:export")
    except AttributeError:
        problem = f"{first.what} belongs to {first.entry['family']}, whose models cannot be exported"
        raise Fatal(problem, "the sum can still be used in psiflow evaluate and label", USAGE) from None
    members = [term.weights for term in of_term]
    work = place.parent / f"{name}-made"
    work.mkdir()
    exported = make(members=members, target="ase", form="folder", folder=str(work), context=first.context)
    shutil.move(str(exported), place / name)
    return f'_of("{name}/calculator.py", device=device)'
