"""Phonons of a crystal on a mesh of wave vectors, by phonopy (A. Togo et al., J. Phys. Condens. Matter 35, 353001)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

from psiflow_cli.worker.failures import Fatal

if TYPE_CHECKING:
    import numpy as np
    from ase import Atoms
    from ase.cell import Cell
    from phonopy import Phonopy
    from phonopy.phonon.mesh import Mesh
    from phonopy.phonon.qpoints import QpointsPhonon

    from psiflow_cli.messages import Frame, HarmonicSettings, ModesOfMesh

_FINENESS = 50.0
"""Å: without a mesh of the user's own, as many points along a reciprocal vector as this is longer than the spacing."""
_THZ = 33.3564095198152  # cm^-1: 1e12 / (100 c)


class Crystal:
    """A crystal whose cell is taken as primitive, and the displacements of the atoms in its supercell."""

    def __init__(self, atoms: Atoms, settings: HarmonicSettings, has_own_masses: bool) -> None:
        self._cell, self._mesh = atoms.cell, settings["mesh"]
        self._phonopy = _phonopy(atoms, settings["supercell"] or [1, 1, 1], has_own_masses)
        self._phonopy.generate_displacements(distance=settings["displacement"], is_plusminus=True)
        self._supercells = self._phonopy.supercells_with_displacements or ()
        self.count = len(self._supercells)

    def displaced(self) -> Iterator[Frame]:
        """The supercells with an atom displaced."""
        for each in self._supercells:
            symbols, positions, cell = list(each.symbols), each.positions.tolist(), each.cell.tolist()
            yield {"id": "", "symbols": symbols, "positions": positions, "cell": cell, "pbc": [True] * 3}

    def modes(self, forces: list[np.ndarray]) -> tuple[ModesOfMesh, tuple[np.ndarray, Atoms]]:
        """The modes, and the Hessian of the supercell (eV/Å², shape (3M, 3M)) with its atoms.

        `forces` are those of the displaced supercells (eV/Å, each of shape (M, 3)).
        """
        import numpy as np

        phonopy = self._phonopy
        phonopy.forces = np.array(forces)
        phonopy.produce_force_constants(show_drift=False)
        phonopy.symmetrize_force_constants(show_drift=False)
        phonopy.run_qpoints([[0.0, 0.0, 0.0]])
        at_gamma = cast("QpointsPhonon", phonopy.qpoints).frequencies[0] * _THZ
        at_rest = sorted(at_gamma, key=abs)[3:]  # without the translations
        phonopy.run_mesh(self._mesh or mesh(self._cell))
        points = cast("Mesh", phonopy.mesh)
        mesh_modes: ModesOfMesh = {
            "frequencies": sorted(map(float, at_rest)),
            "modes": (points.frequencies * _THZ).tolist(),
            "weights": [int(weight) for weight in points.weights],
        }
        return mesh_modes, _hessian(phonopy)


def mesh(cell: Cell) -> list[int]:
    """Points along each reciprocal vector."""
    return [max(1, math.ceil(_FINENESS * float(length))) for length in cell.reciprocal().lengths()]


def _phonopy(atoms: Atoms, supercell: list[int], has_own_masses: bool) -> Phonopy:
    try:
        from phonopy import Phonopy
        from phonopy.structure.atoms import PhonopyAtoms
    except ImportError:
        problem = "--supercell needs phonopy, which is not installed in the workers' environment"
        raise Fatal(
            problem, "pip install 'psiflow-cli[phonons]' there, or leave out --supercell to compute only Γ"
        ) from None
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


def _hessian(phonopy: Phonopy) -> tuple[np.ndarray, Atoms]:
    """The force constants with rows and columns atom by atom, and the atoms."""
    import ase
    import numpy as np

    constants = np.asarray(phonopy.force_constants)
    size = 3 * len(constants)
    supercell = phonopy.supercell
    atoms = ase.Atoms(supercell.symbols, supercell.positions, cell=supercell.cell, pbc=True)
    return constants.transpose(0, 2, 1, 3).reshape(size, size), atoms
