"""One PLUMED in this process, asked in eV, Å, fs and u."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psiflow_cli.worker.failures import Fatal
from psiflow_cli.worker.md.plumed.files import INPUT, LOG, away

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from ase import Atoms
    from plumed import Plumed

EV = 96.48530749925792
"""An eV of PLUMED's, in kJ/mol: by ASE's, energies of an input in eV would come back changed in the seventh digit."""
WIDE = 1000.0
"""How far apart (Å) images are along a direction that is not periodic, where others are."""


@dataclass(frozen=True)
class BiasForces:
    """What PLUMED adds to the model: energy (eV), forces (eV/Å, [N, 3]), and dE/d(strain) (eV, [3, 3])."""

    energy: float
    forces: np.ndarray
    virial: np.ndarray


class Kernel:
    """A PLUMED that has read its input, in the folder where its files are."""

    def __init__(
        self, folder: Path, atoms: Atoms, timestep: float, kT: float, in_eV: bool, restart: bool
    ) -> None:  # fmt: skip
        """`timestep` in fs, `kT` in eV; `in_eV` where the input counts in eV.

        Raises Fatal where PLUMED is missing or does not take its input.
        """
        import numpy as np
        from ase import units

        self._folder, self.masses = str(folder), np.array(atoms.get_masses())
        self.pbc = np.array(atoms.pbc, dtype=bool)
        self._is_boxed = bool(self.pbc.any())
        self._positions, self._forces = np.zeros((len(atoms), 3)), np.zeros((len(atoms), 3))
        self._box, self._virial, self._energy = np.zeros((3, 3)), np.zeros((3, 3)), np.zeros(1)
        self._bias = np.zeros(1)
        with away():
            os.chdir(folder)
            self._plumed = _load()
            try:
                energy_unit = EV if in_eV else units.mol / units.kJ
                read_input(self._plumed, len(self.masses), energy_unit, kT, timestep, restart)
            except Exception as error:
                raise Fatal(f"PLUMED: {reason(error)}", f"fix the input; more in {folder}/{LOG}") from error
        self.log = Path(folder, LOG).read_text(encoding="utf-8", errors="replace")

    def read_line(self, line: str) -> bool:
        """Add an action to the input; whether PLUMED takes it."""
        try:
            with away():
                os.chdir(self._folder)
                self._plumed.cmd("readInputLine", line)
        except Exception:
            return False
        return True

    def __call__(
        self, step: int, positions: np.ndarray, cell: np.ndarray, model: BiasForces | None = None
    ) -> BiasForces:
        """The bias at these positions and cell (Å); `model` where a CV is the model's energy, whose part is added."""
        # PLUMED remembers where these arrays are, and may look there until it is asked again.
        self._positions[:], self._forces[:], self._virial[:] = positions, 0.0, 0.0
        if model:
            self._energy[0], self._forces[:], self._virial[:] = model.energy, model.forces, model.virial
        command = self._plumed.cmd
        try:
            # No file is opened here, so it does not matter where the process is.
            command("setStep", step)
            command("setMasses", self.masses)
            if self._is_boxed:
                self._box[:] = boxed(cell, self.pbc)
                command("setBox", self._box)
            command("setPositions", self._positions)
            command("setForces", self._forces)
            command("setVirial", self._virial)
            if model:
                command("setEnergy", self._energy)
            command("prepareCalc")
            command("performCalcNoUpdate")
            command("getBias", self._bias)
        except Exception as error:
            raise RuntimeError(f"PLUMED: {reason(error)}") from error
        forces, virial = self._forces.copy(), self._virial.copy()
        if model:
            forces, virial = forces - model.forces, virial - model.virial
        return BiasForces(float(self._bias[0]), forces, virial)

    def update(self, checkpoint: bool) -> None:
        """Have PLUMED do what is due after the step it was last asked about: print, add to biases, write states."""
        try:
            with away():
                os.chdir(self._folder)
                if checkpoint:
                    self._plumed.cmd("doCheckPoint", 1)
                self._plumed.cmd("update")
        except Exception as error:
            raise RuntimeError(f"PLUMED: {reason(error)}") from error

    def close(self) -> None:
        """End PLUMED, which closes its files."""
        with away():
            os.chdir(self._folder)
            self._plumed.finalize()


def boxed(cell: np.ndarray, pbc: np.ndarray) -> np.ndarray:
    """A cell for PLUMED, which knows periodic boxes only: very wide along what is not periodic, so no image is near."""
    import numpy as np

    if pbc.all():
        return cell
    box = np.array(cell, dtype=float)
    box[~pbc] = 0.0
    for axis in np.flatnonzero(~pbc):
        normal = np.linalg.svd(box)[2][np.linalg.matrix_rank(box)]
        box[axis] = WIDE * normal
    return box


def stage(folder: Path, text: str, files: Mapping[str, str], keep: Mapping[str, Any]) -> None:
    """Write the input and the files that it reads, but those that are to be kept as they are."""
    (folder / INPUT).write_text(text, encoding="utf-8")
    for name, content in files.items():
        if name not in keep:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(content, encoding="utf-8")


def load() -> Plumed:
    """A PLUMED. Raises ImportError where its Python package is missing, RuntimeError where its library does not load.

    PLUMED writes two lines to stderr, each time, where it is to look for the library itself.
    """
    import plumed

    return plumed.Plumed(*filter(None, [os.environ.get("PLUMED_KERNEL")]))


def read_input(plumed: Plumed, atoms: int, energy_unit: float, kT: float, timestep: float, restart: bool) -> None:
    """Have PLUMED read `INPUT`, where the process is; `energy_unit` is an eV in kJ/mol, the rest in eV and fs."""
    for command, value in (
        ("setRealPrecision", 8),
        ("setMDEngine", "psiflow"),
        ("setMDEnergyUnits", energy_unit),
        ("setMDLengthUnits", 0.1),
        ("setMDTimeUnits", 0.001),
        ("setMDMassUnits", 1.0),
        ("setKbT", kT),
        ("setTimestep", timestep),
        ("setNatoms", atoms),
        ("setPlumedDat", INPUT),
        ("setLogFile", LOG),
        *((("setRestart", 1),) if restart else ()),
        ("init", None),
    ):
        plumed.cmd(command, value)


def _load() -> Plumed:
    """A PLUMED. Raises Fatal where its Python package or its library is missing."""
    try:
        return load()
    except ImportError:
        problem = f"PLUMED's Python package is not installed in {sys.prefix}"
        raise Fatal(problem, "pip install plumed there, and install PLUMED itself (conda-forge has both)") from None
    except Exception as error:
        problem = f"PLUMED's library does not load: {reason(error)[:200]}"
        raise Fatal(problem, "set PLUMED_KERNEL to the path of libplumedKernel.so on the workers") from error


def reason(error: BaseException) -> str:
    """What PLUMED says, and its causes, without the places in its source."""
    texts = []
    cause: BaseException | None = error
    while cause:
        texts.append(" ".join(re.sub(r"^\s*\(\S+:\d+\)[^\n]*\n", "", str(cause)).split()))
        cause = cause.__cause__
    return ": ".join(texts)[-400:]
