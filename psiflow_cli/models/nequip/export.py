"""NequIP and Allegro models for other programs: packaged, or compiled on the worker."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from psiflow_cli.errors import BAD_DATA
from psiflow_cli.models.nequip.compiling import ENDING, build, cached
from psiflow_cli.models.nequip.weights import PACKAGE, weights_file
from psiflow_cli.worker.failures import Fatal
from psiflow_cli.worker.models import hardware

if TYPE_CHECKING:
    from psiflow_cli.messages import Context

EXPORTS = {
    "ase": {"folder": ""},
    "lammps": {"pair": ENDING},
    "nequip": {"package": PACKAGE},
    "torchsim": {"compiled": ENDING},
}
_SCRIPT = '''"""A model of the NequIP framework as an ASE calculator; it needs nequip{more}, and nothing of psiflow.

    from calculator import calculator
    atoms.calc = calculator()

or, from a shell, energies (eV) and largest forces (eV/Å): python calculator.py FRAMES.xyz

It was compiled for {device} and runs on machines like the one it was compiled on.
"""

import sys
from pathlib import Path

from nequip.integrations.ase import NequIPCalculator


def calculator(device={device!r}):
    """The calculator of these weights."""
    path = Path(__file__).resolve().parent / "model{ending}"
    return NequIPCalculator.from_compiled_model(path, device=device, chemical_species_to_atom_type_map=True)


if __name__ == "__main__":
    from ase.io import iread

    calc = calculator()
    for atoms in iread(sys.argv[1]):
        atoms.calc = calc
        print(f"{{atoms.get_potential_energy():.8f}} {{abs(atoms.get_forces()).max():.6f}}")
'''


def exported(pair: str, members: list[str], target: str, form: str, folder: str, context: Context) -> str:
    """*worker*: see `protocols.Model.export`; `pair` is the name of the family's pair style in LAMMPS."""
    if target == "nequip":
        source = weights_file(members[0])
        if not source.name.endswith(PACKAGE):
            raise Fatal(f"{source}: is no package", f"nequip-package makes a {PACKAGE} file of it", BAD_DATA)
        return str(shutil.copyfile(source, Path(folder) / source.name))
    compiled = cached(members[0], target, context)
    path = compiled[0] if compiled else Path(build(pair, members[0], target, folder, context)["path"])
    if target != "ase":
        return str(path)
    place = Path(folder) / "folder"
    place.mkdir()
    shutil.copyfile(path, place / f"model{ENDING}")
    more = " and allegro" if pair == "pair_allegro" else ""
    text = _SCRIPT.format(more=more, device=hardware.device(context), ending=ENDING)
    (place / "calculator.py").write_text(text, encoding="utf-8")
    return str(place)
