"""A walker's bias by PLUMED, whatever engine moves the walker.

An engine asks for the bias where the model is asked (`apply`), and tells PLUMED of each step that is made (`update`),
the last one of a block with `checkpoint`. A walker that goes on has PLUMED read what it wrote at the checkpoint: no
hill is lost or doubled, and the path is the undisturbed one to the digits of PLUMED's files.

PLUMED's biases skip the first step that they see. A walker that goes on shows them the step of the checkpoint again,
and cuts off what is printed of it a second time.
"""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from psiflow_cli.worker.failures import Fatal
from psiflow_cli.worker.md import checkpoint
from psiflow_cli.worker.md.plumed import effective_input, memory, shared
from psiflow_cli.worker.md.plumed.actions import OPES, Action
from psiflow_cli.worker.md.plumed.files import MINIMA, VALUES, WalkerFiles
from psiflow_cli.worker.md.plumed.kernel import BiasForces, Kernel, stage
from psiflow_cli.worker.md.velocities import KB
from psiflow_cli.worker.pool.temporary_folders import temporary

if TYPE_CHECKING:
    import numpy as np
    from ase import Atoms

    from psiflow_cli.messages import MDJob, PlumedState, WalkerStart


class Bias:
    """The bias of one walker, between two checkpoints."""

    def __init__(self, job: MDJob, walker: WalkerStart, atoms: Atoms, state: PlumedState | None) -> None:
        """`atoms` have masses and what is periodic; `state` is that of the last checkpoint, if there is one.

        Raises Fatal where PLUMED is missing, does not understand the input, or could not go on with it later, and
        RuntimeError where the files are not those of the checkpoint.
        """
        self._job, self._atoms, self._state = job, atoms, state
        self._kT = KB * walker["temperature"][0]
        self._texts = job.get("plumed_files", {})
        self.actions, self._files, own_hills = restore_files(job, walker["walker"], state)
        folder, begun = self._files.folder, self.actions
        if (earlier := job.get("plumed_hills")) and state is None and (not self._files.shared or walker["walker"] == 0):
            begun = shared.begin_from(folder, begun, earlier, min(own_hills, default=""))
        ready = state and {each.label: self._has_state(each) for each in self._opes}
        self._minima: dict[str, list[float]] = state["minima"] if state else {}
        text = effective_input.text_of(begun, ready, self._minima)
        stage(folder, text, self._texts, state["files"] if state else {})
        self._kernel = self._started(folder, restart=state is not None)
        self.parsed = memory.parsed(self._kernel.log)
        self._refuse()
        self.needs_energy = any(each.name == "ENERGY" for each in self.parsed)
        """Whether a CV is the model's energy: then `apply` needs what the model gives."""
        self.remembers = any(each.name in memory.KEPT for each in self.parsed)
        self._collect()
        self._last: tuple[int, BiasForces] | None = None
        self._asked: np.ndarray | None = None
        self._updated = -1
        self._primed = state is None
        self._finite = True
        self._probe: Kernel | None = None  # another PLUMED with the same input, for `energy_at`
        self._probe_folder: tempfile.TemporaryDirectory[str] | None = None

    def _started(self, folder: Path, restart: bool) -> Kernel:
        in_eV = effective_input.counts_in_eV(self.actions)
        return Kernel(folder, self._atoms, float(self._job["timestep"]), self._kT, in_eV, restart)

    @property
    def _opes(self) -> list[Action]:
        return [action for action in self.actions if action.name in OPES]

    def _has_state(self, action: Action) -> bool:
        """Whether an action of OPES has written a state; it has none before its first kernel."""
        path = self._files.folder / action.state_file
        return path.exists() and path.stat().st_size > 0

    def _refuse(self) -> None:
        reason = memory.refused(self.parsed, self.actions)
        if not reason and self._job.get("exchange") and any(each.name in memory.KEPT for each in self.parsed):
            reason = "--exchange needs biases that do not change"
        if reason:
            self._kernel.close()
            raise Fatal(f"PLUMED: {reason}", "remove it from the input of --plumed")

    def _collect(self) -> None:
        """Have PLUMED write the values that have names, each time a frame is recorded."""
        forgotten = ("work",) if any(each.name == "MOVINGRESTRAINT" for each in self.parsed) else ()
        names = []
        for number, each in enumerate(self.parsed):
            if each.label.startswith("@"):
                continue
            if each.components:
                names += [name for name in each.components if not name.endswith(forgotten)]
            elif self._kernel.read_line(f"psiflow_{number}: COMBINE ARG={each.label} PERIODIC=NO"):
                names.append(each.label)
        self._names, self._read = names, 0
        every = self._job["every"]
        if names and not self._kernel.read_line(
            f"PRINT ARG={','.join(names)} FILE={VALUES} STRIDE={every} FMT=%.17g RESTART=NO"
        ):
            self._names = []
        if self._names:
            self._kernel.read_line(f"FLUSH STRIDE={every}")
        self._abmd = {each.label: each.components for each in self.parsed if each.name == "ABMD"}
        if self._abmd:
            minima = [name for each in self._abmd.values() for name in each if name.endswith("_min")]
            self._kernel.read_line(f"PRINT ARG={','.join(minima)} FILE={MINIMA} STRIDE=1 FMT=%.17g RESTART=NO")

    def apply(self, step: int, positions: np.ndarray, cell: np.ndarray, model: BiasForces | None = None) -> BiasForces:
        """The bias at a step, of positions [N, 3] and cell [3, 3] in Å; the same again if it is asked again."""
        import numpy as np

        if self._last and self._last[0] == step and self._asked is not None and np.array_equal(positions, self._asked):
            return self._last[1]
        self._asked = np.array(positions)
        self._finite = math.isfinite(np.vdot(positions, positions) + np.vdot(cell, cell))
        if not self._finite:  # the engine stops such a walker
            return BiasForces(float("nan"), np.zeros_like(positions), np.zeros((3, 3)))
        forces = self._kernel(step, positions, cell, self._model(model))
        if not self._primed and self._state:
            # The next step begins with the bias before what was added to it at the checkpoint.
            stored = self._state
            forces = BiasForces(stored["energy"], np.array(stored["forces"]), np.array(stored["virial"]))
        self._last = step, forces
        return forces

    def _model(self, model: BiasForces | None) -> BiasForces | None:
        if not self.needs_energy:
            return None
        if model is None:
            raise Fatal("PLUMED's ENERGY cannot be used with this engine", "choose --engine torchsim or ase")
        return model

    @property
    def energy(self) -> float:
        """The bias (eV) at the step that was last asked about."""
        return self._last[1].energy if self._last else float("nan")

    @property
    def virial(self) -> np.ndarray:
        """dE/d(strain) of the bias (eV, [3, 3]) at the step that was last asked about."""
        assert self._last
        return self._last[1].virial

    def update(self, checkpoint: bool = False) -> None:
        """The step that was last asked about is made, which counts once; `checkpoint` where the block ends there."""
        assert self._last
        if not self._finite or self._last[0] == self._updated:
            return
        self._updated = self._last[0]
        if self._primed:
            self._kernel.update(checkpoint)
            return
        self._primed = True
        self._kernel.update(checkpoint=True)
        assert self._state
        self._files.trim(self._state["files"])

    @property
    def can_go_on(self) -> bool:
        """Whether a walker could go on from here, after an update with `checkpoint`.

        OPES that still measures, its width or the range of its expansion, writes no state.
        """
        return all(
            self._has_state(action)
            for action in self._opes
            if action.name == "OPES_EXPANDED" or action.get("SIGMA", "ADAPTIVE").upper() == "ADAPTIVE"
        )

    def values(self) -> dict[str, float]:
        """The values that have names in PLUMED's input, by name, where a frame was just recorded; in PLUMED's units."""
        if not self._names:
            return {}
        with (self._files.folder / VALUES).open("rb") as file:
            file.seek(self._read)
            new = file.read()
        self._read += len(new)
        rows = [line.split() for line in new.decode().splitlines() if not line.startswith("#")]
        return dict(zip(self._names, map(float, rows[-1][1:]), strict=True)) if rows else {}

    def recorded(self) -> dict[str, float]:
        """What a frame says of the bias: its energy (eV), and the values that have names, in PLUMED's units."""
        return {"bias_energy": self.energy, **{f"plumed_{name}": value for name, value in self.values().items()}}

    def energy_at(self, positions: np.ndarray, cell: np.ndarray, model: BiasForces | None = None) -> float:
        """The bias (eV) of this walker's input at other positions and cell (Å), which leaves no trace in the walker.

        At the step that was last asked about, or the first one. Not for a bias that remembers.
        """
        if self.remembers:
            raise ValueError("a history-dependent bias cannot be evaluated at other positions")
        step = self._last[0] if self._last else 0
        if self._probe is None:
            self._probe_folder = temporary("psiflow-bias")
            folder = Path(self._probe_folder.name)
            stage(folder, effective_input.text_of(self.actions, None, {}), self._texts, {})
            self._probe = self._started(folder, restart=False)
        return self._probe(step, positions, cell, self._model(model)).energy

    def close(self) -> PlumedState:
        """End PLUMED; what a checkpoint at the step that was last asked about needs."""
        assert self._last
        self._kernel.close()
        if self._probe is not None and self._probe_folder is not None:
            self._probe.close()
            self._probe_folder.cleanup()
        step, forces = self._last
        return {
            "files": self._files.count(step), "minima": self._last_minima(), "energy": forces.energy,
            "forces": forces.forces.tolist(), "virial": forces.virial.tolist(),
        }  # fmt: skip

    def _last_minima(self) -> dict[str, list[float]]:
        path = self._files.folder / MINIMA
        rows = path.read_text().splitlines() if self._abmd and path.exists() else []
        numbers = iter(map(float, rows[-1].split()[1:]) if rows and not rows[-1].startswith("#") else ())
        return (
            {label: [next(numbers) for name in names if name.endswith("_min")] for label, names in self._abmd.items()}
            if rows
            else self._minima
        )


def restore_files(job: MDJob, number: int, state: PlumedState | None) -> tuple[list[Action], WalkerFiles, set[str]]:
    """The actions of a walker, its files as they were at the last checkpoint, and the names of those with its hills.

    Raises RuntimeError where the files are not those of the checkpoint.
    """
    texts, folders = job.get("plumed_files", {}), job.get("shared_bias", {})
    actions = effective_input.actions(job["plumed"] or "", texts)
    appended = effective_input.appended_files(actions)
    hills = own_hills = shared.hills(actions)
    if folders:
        actions = shared.filled(actions, number, len(folders))
        own_hills = {f"{name}.{number}" for name in hills}
        appended = (appended - hills) | own_hills
    folder = checkpoint.plumed_folder(Path(job["folder"]).absolute(), number)  # PLUMED moves the process elsewhere
    files = WalkerFiles(folder, appended, set(texts), own_hills if folders else frozenset())
    files.restore(state["files"] if state else None)
    shared.link(folder, hills, number, folders)
    return actions, files, own_hills
