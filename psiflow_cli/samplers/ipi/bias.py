"""PLUMED on the centroids: a bias on collective variables, and what PLUMED's input prints of them.

Its files lie in a folder beside the walker's trajectory. A walker that goes on cuts them back to its last checkpoint,
and has PLUMED append to them. What a bias has gathered from the past cannot be cut back: such actions are refused.
"""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from psiflow_cli.worker.failures import Fatal

if TYPE_CHECKING:
    from ase import Atoms
    from ipi.engine.atoms import Atoms as IpiAtoms
    from ipi.engine.cell import Cell
    from plumed import Plumed

    from psiflow_cli.messages import MDJob
    from psiflow_cli.samplers.ipi.force_field import Request

HISTORY = (
    *("METAD", "PBMETAD", "OPES_METAD", "OPES_METAD_EXPLORE", "OPES_EXPANDED", "ABMD", "EXTENDED_LAGRANGIAN", "MAXENT"),
    *("EDS", "EDS_RESTRAINT", "DRR", "LOGMFD", "TEMD", "METAINFERENCE", "RESCALE", "CALIBER", "VES_LINEAR_EXPANSION"),
    *("FISST", "FUNNEL_METAD", "ENVELOPE", "RATCHET", "ADAPTIVE_PATH", "COMMITTOR", "AVERAGE", "HISTOGRAM"),
)
"""Actions whose effect depends on where the walker has been."""
_working_directory = threading.Lock()


def refuses(text: str) -> str:
    """Why a walker could not go on from a checkpoint under this input of PLUMED's, or ""."""
    for line in text.splitlines():
        words = re.sub(r"^\s*\S+:\s", "", line.partition("#")[0]).split()
        if words and words[0].upper() in HISTORY:
            return f"PLUMED's {words[0].upper()} remembers where the walker has been, and no checkpoint holds that"
    return ""


class Bias:
    """A force field of i-PI's for the centroids, which asks PLUMED; in eV, Å, fs and u."""

    name = "plumed"
    latency = 0.0

    def __init__(self, job: MDJob, number: int, atoms: Atoms, sizes: dict[str, int] | None) -> None:
        """`sizes` are those of PLUMED's files at the last checkpoint, None before the first one."""
        import numpy as np

        if atoms.pbc.any() and not atoms.pbc.all():
            raise Fatal("PLUMED knows no frames that are periodic in some directions only", "leave --plumed out")
        self.folder = Path(job["folder"], f"plumed-{number:05d}")
        self.periodic, self.masses = bool(atoms.pbc.all()), np.array(atoms.get_masses())
        self.positions, self.forces = np.zeros((len(atoms), 3)), np.zeros((len(atoms), 3))
        self.box, self.virial, self.charges = np.zeros((3, 3)), np.zeros((3, 3)), np.zeros(len(atoms))
        self.step, self.energy = 0, 0.0
        self._cut_back(sizes)
        (self.folder / "plumed.dat").write_text(job["plumed"] or "", encoding="utf-8")
        for name, text in job.get("plumed_files", {}).items():
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_text(text, encoding="utf-8")
        with self._in_folder():
            self.plumed = _kernel()
            try:
                self._configure(job, sizes is not None)
            except Exception as error:
                reason = " ".join(str(error).split())[-400:]
                raise Fatal(f"PLUMED: {reason}", f"fix the input; more in {self.folder}/plumed.log") from error

    def _configure(self, job: MDJob, restart: bool) -> None:
        from ase import units

        for command, value in (
            ("setRealPrecision", 8),
            ("setMDEngine", "psiflow"),
            ("setMDEnergyUnits", units.mol / units.kJ),
            ("setMDLengthUnits", 0.1),
            ("setMDTimeUnits", 0.001),
            ("setMDMassUnits", 1.0),
            ("setKbT", units.kB * job["walkers"][0]["temperature"][0]),
            ("setTimestep", float(job["timestep"])),
            ("setNatoms", len(self.masses)),
            ("setPlumedDat", "plumed.dat"),
            ("setLogFile", "plumed.log"),
            *((("setRestart", 1),) if restart else ()),
        ):
            self.plumed.cmd(command, value)
        self.plumed.cmd("init")

    def queue(self, atoms: IpiAtoms, cell: Cell, reqid: int) -> Request:
        """i-PI's question for the centroids, with its answer: [energy, forces, virial, nothing else]."""
        import numpy as np

        # PLUMED remembers where these arrays are, and may look there until it is asked again.
        self.positions[:] = np.array(atoms.q).reshape(-1, 3)
        self.forces[:] = self.virial[:] = 0.0
        with self._in_folder():
            self.plumed.cmd("setStep", self.step)
            self.plumed.cmd("setMasses", self.masses)
            self.plumed.cmd("setCharges", self.charges)
            if self.periodic:
                self.box[:] = np.array(cell.h).T
                self.plumed.cmd("setBox", self.box)
            self.plumed.cmd("setPositions", self.positions)
            self.plumed.cmd("setForces", self.forces)
            self.plumed.cmd("setVirial", self.virial)
            self.plumed.cmd("prepareCalc")
            self.plumed.cmd("performCalcNoUpdate")
            energy = np.zeros(1)
            self.plumed.cmd("getBias", energy)
        self.energy = float(energy[0])
        result = [self.energy, self.forces.ravel().copy(), -self.virial, {}]
        return {"status": "Done", "result": result, "t_queued": 0.0, "t_dispatched": 0.0, "t_finished": 0.0}

    def release(self, request: Request) -> None:
        """Nothing waits for the end of a question."""

    def update(self) -> None:
        """Have PLUMED print what its input says of the step just made."""
        with self._in_folder():
            self.plumed.cmd("update")

    def close(self) -> dict[str, int]:
        """End PLUMED, and say how long its files are now: {name: bytes}."""
        with self._in_folder():
            self.plumed.finalize()
        return {path.name: path.stat().st_size for path in sorted(self.folder.iterdir()) if path.is_file()}

    def _cut_back(self, sizes: dict[str, int] | None) -> None:
        """Leave of PLUMED's files what the checkpoint counts."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        for path in self.folder.iterdir():
            if path.is_dir():
                continue  # of files that the input names
            if sizes is None or path.name not in sizes:
                path.unlink()
            elif path.stat().st_size > sizes[path.name]:
                os.truncate(path, sizes[path.name])

    @contextmanager
    def _in_folder(self) -> Iterator[None]:
        """PLUMED opens its files where the process is."""
        with _working_directory:
            here = os.open(".", os.O_RDONLY)
            os.chdir(self.folder)
            try:
                yield
            finally:
                os.fchdir(here)
                os.close(here)


def _kernel() -> Plumed:
    """A PLUMED. Raises Fatal where its Python package or its library is missing."""
    try:
        import plumed
    except ImportError:
        problem = f"PLUMED's Python package is not installed in {sys.prefix}"
        raise Fatal(problem, "pip install plumed there, and have PLUMED itself (conda-forge has both)") from None
    try:
        return plumed.Plumed()
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        problem = f"PLUMED's library does not load: {reason}"
        raise Fatal(problem, "set PLUMED_KERNEL to the path of libplumedKernel.so on the workers") from error
