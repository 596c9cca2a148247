"""What GPAW's own Python runs for one frame, without psiflow: reads job.json, leaves numbers.json."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, TypedDict, cast

if TYPE_CHECKING:
    from ase import Atoms

    from psiflow_cli.messages import Frame, Vectors


class Numbers(TypedDict):
    """What numbers.json holds."""

    energy: float  # eV
    forces: Vectors
    stress: list[float] | None
    version: str  # of GPAW


def main() -> None:
    """Compute the frame; the energy is the free energy, which the forces are the slope of."""
    with open("job.json") as stream:
        job = json.load(stream)
    from ase.parallel import world
    from gpaw import GPAW, KohnShamConvergenceError, __version__

    atoms = _atoms(job["frame"], job["vacuum"])
    atoms.calc = GPAW(txt="-", **_parameters(job["parameters"], job["frame"]))
    try:
        energy = atoms.get_potential_energy(force_consistent=True)
    except KohnShamConvergenceError:
        print("psiflow: the SCF did not converge", flush=True)
        sys.exit(1)
    numbers: Numbers = {
        "energy": float(energy), "forces": atoms.get_forces().tolist(), "stress": _stress(atoms),
        "version": __version__,
    }  # fmt: skip
    if world.rank == 0:
        with open("numbers.json", "w") as stream:
            json.dump(numbers, stream)


def _atoms(frame: Frame, vacuum: float | None) -> Atoms:
    from ase import Atoms

    atoms = Atoms(frame["symbols"], frame["positions"], cell=frame.get("cell"), pbc=frame.get("pbc") or False)
    if frame.get("cell") is None:
        atoms.center(vacuum=vacuum)
    if frame.get("moments"):
        atoms.set_initial_magnetic_moments(frame["moments"])
    elif frame.get("multiplicity") is not None:
        atoms.set_initial_magnetic_moments([(frame["multiplicity"] - 1) / len(atoms)] * len(atoms))
    return atoms


def _parameters(own: dict[str, object], frame: Frame) -> dict[str, object]:
    """The user's parameters, with the charge and a fixed total moment of the frame."""
    parameters = dict(own)
    if frame.get("charge") is not None:
        parameters["charge"] = frame["charge"]
    if frame.get("multiplicity") is not None and (frame["multiplicity"] > 1 or parameters.get("spinpol")):
        width = 0.1 if any(frame.get("pbc") or ()) else 0.0  # GPAW's own default
        occupations = cast("dict[str, object]", parameters.get("occupations", {"name": "fermi-dirac", "width": width}))
        parameters.update(spinpol=True, occupations={**occupations, "fixmagmom": True})
    return parameters


def _stress(atoms: Atoms) -> list[float] | None:
    """ASE's six components, or None where the mode or the functional has no stress."""
    if not atoms.pbc.all():
        return None
    try:
        stress: list[float] = atoms.get_stress().tolist()
    except NotImplementedError:
        return None
    return stress


if __name__ == "__main__":
    main()
