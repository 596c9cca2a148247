"""Phonons of a crystal on a mesh of wave vectors, by phonopy (A. Togo et al., J. Phys. Condens. Matter 35, 353001)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from psiflow_cli.worker.failures import Fatal

Wire = dict[str, Any]

_FINENESS = 50.0
"""Å: without a mesh of the user's own, as many points along a reciprocal vector as this is longer than the spacing."""
_THZ = 33.3564095198152
"""cm^-1: 1e12 / (100 c)."""


def modes(
    atoms: Any,
    settings: Wire,
    has_own_masses: bool,
    forces: Callable[[list[Wire]], list[Any]],
    leave: Callable[[Any, Any, list[int]], None],
) -> Wire:
    """{"frequencies", "modes", "weights"} as `hessian.analyse` returns them; the cell is taken as primitive.

    `forces` gives those of frames on the wire (eV/Å); `leave` gets the Hessian of the supercell (eV/Å², shape
    (3M, 3M)), its atoms, and the numbers of those.
    """
    import numpy as np

    phonopy = _phonopy(atoms, settings["supercell"], has_own_masses)
    phonopy.generate_displacements(distance=settings["displacement"], is_plusminus=True)
    displaced = [
        {
            "id": "",
            "symbols": list(each.symbols),
            "positions": each.positions.tolist(),
            "cell": each.cell.tolist(),
            "pbc": [True] * 3,
        }
        for each in phonopy.supercells_with_displacements
    ]
    phonopy.forces = np.array(forces(displaced))
    phonopy.produce_force_constants(show_drift=False)
    phonopy.symmetrize_force_constants(show_drift=False)
    _leave_whole(phonopy, leave)
    phonopy.run_qpoints([[0.0, 0.0, 0.0]])
    at_rest = sorted(phonopy.qpoints.frequencies[0] * _THZ, key=abs)[3:]  # without the translations
    phonopy.run_mesh(settings["mesh"] or mesh(atoms.cell))
    return {
        "frequencies": sorted(map(float, at_rest)),
        "modes": (phonopy.mesh.frequencies * _THZ).tolist(),
        "weights": [int(weight) for weight in phonopy.mesh.weights],
    }


def mesh(cell: Any) -> list[int]:
    """Points along each reciprocal vector of an `ase.cell.Cell`."""
    return [max(1, math.ceil(_FINENESS * float(length))) for length in cell.reciprocal().lengths()]


def _phonopy(atoms: Any, supercell: list[int], has_own_masses: bool) -> Any:
    try:
        from phonopy import Phonopy
        from phonopy.structure.atoms import PhonopyAtoms
    except ImportError:
        said = "phonopy is not among the workers' packages, and --supercell needs it"
        raise Fatal(said, "pip install 'psiflow-cli[phonons]' there, or leave --supercell out: Γ alone") from None
    import numpy as np

    cell = PhonopyAtoms(
        symbols=atoms.get_chemical_symbols(),
        cell=atoms.cell.array,
        scaled_positions=atoms.get_scaled_positions(wrap=False),
        masses=atoms.get_masses(),
    )
    # Isotopes break the symmetry that phonopy sees, which is of the elements.
    symmetric = not has_own_masses
    return Phonopy(cell, np.diag(supercell), primitive_matrix=np.eye(3), is_symmetry=symmetric)


def _leave_whole(phonopy: Any, leave: Callable[[Any, Any, list[int]], None]) -> None:
    """Leave the force constants as a Hessian with rows and columns atom by atom."""
    import ase

    constants = phonopy.force_constants
    size = 3 * len(constants)
    whole = phonopy.supercell
    atoms = ase.Atoms(whole.symbols, whole.positions, cell=whole.cell, pbc=True)
    leave(constants.transpose(0, 2, 1, 3).reshape(size, size), atoms, list(range(len(atoms))))
