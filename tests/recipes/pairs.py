"""A model family that is fitted in milliseconds: a sum over pairs of atoms, linear in its coefficients.

Each member is fitted to its own two thirds of the training frames, so that a committee disagrees where data are few.
`program` makes a `psiflow` with this family among its own.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

Wire = dict[str, Any]
SUMMARY = "pairs"
REQUIRES = ("ase",)
CENTRES = tuple(1.6 + 0.3 * i for i in range(14))
"""Of the Gaussians (Å) in which the pair energy is expanded."""
WIDTH = 0.3


def plan(config: Wire, options: dict[str, str], summary: Wire) -> Wire:
    return {**config, **options, "e0s": summary["e0s"], "elements": summary["elements"]}


def epochs(config: Wire) -> int:
    return 1


def progress(workdir: Path) -> list[Wire]:
    return [{"epoch": 0, "loss": 1.0}] if Path(workdir, "weights.json").is_file() else []


def train(job: Wire, context: Wire) -> Wire:
    import ase.io
    import numpy as np

    config, path = job["config"], Path(job["workdir"], "weights.json")
    zero = config["e0s"]
    if not path.exists():
        time.sleep(float(config.get("pause", 0)))
        frames = [atoms for atoms in ase.io.read(job["train"], ":") if len(atoms) > 1]
        rows, targets = [], []
        chosen = np.random.default_rng(job["seed"]).permutation(len(frames))[: max(2, 2 * len(frames) // 3)]
        for atoms in (frames[i] for i in sorted(chosen)):
            energies, forces = _terms(atoms.positions)
            rows += [energies, *forces.reshape(-1, len(CENTRES))]
            targets += [atoms.get_potential_energy() - sum(zero[s] for s in atoms.symbols), *atoms.get_forces().ravel()]
        matrix = np.array(rows)
        ridge = 1e-6 * np.eye(len(CENTRES))
        weights = {"coefficients": np.linalg.solve(matrix.T @ matrix + ridge, matrix.T @ targets).tolist(), "e0s": zero}
        whole = path.with_suffix(".part")
        whole.write_text(json.dumps(weights))
        whole.replace(path)
    return {
        "weights": [str(path)], "logs": [], "metrics": {}, "trainer": "pairs 1", "cutoff": 6.0, "dtype": "float64",
        "elements": config["elements"], "atomic_energies": zero, "finished": True,
    }  # fmt: skip


def _gaussians(positions: Any) -> tuple[Any, Any, Any]:
    """Of each pair of atoms: the Gaussians, their derivatives over the distance, and the vector between the atoms."""
    import numpy as np

    between = positions[:, None] - positions[None, :]
    far = np.linalg.norm(between, axis=2) + 1e3 * np.eye(len(positions))
    shift = far[..., None] - np.array(CENTRES)
    gauss = np.exp(-0.5 * (shift / WIDTH) ** 2)
    return gauss, gauss * shift / WIDTH**2 / far[..., None], between


def _terms(positions: Any) -> tuple[Any, Any]:
    """Of each Gaussian, the energy of a cluster and its forces."""
    import numpy as np

    gauss, slope, between = _gaussians(positions)
    return 0.5 * gauss.sum((0, 1)), np.einsum("ijc,ijk->ikc", slope, between)


def _predicted(member: str, symbols: list[str], positions: Any) -> tuple[float, Any]:
    weights = json.loads(Path(member, "weights.json").read_text())
    energies, forces = _terms(positions)
    energy = float(energies @ weights["coefficients"]) + sum(weights["e0s"][s] for s in symbols)
    return energy, forces @ weights["coefficients"]


def predict(frames: list[Wire], members: list[str], context: Wire) -> list[list[Wire]]:
    import numpy as np

    found = []
    for member in members:
        each = (_predicted(member, f["symbols"], np.array(f["positions"])) for f in frames)
        found.append([{"energy": e, "forces": f.tolist(), "stress": None} for e, f in each])
    return found


def features(frames: list[Wire], member: str, context: Wire) -> Any:
    import numpy as np

    return [_gaussians(np.array(frame["positions"]))[0].sum(1) for frame in frames]


def calculator(member: str, context: Wire) -> Any:
    from ase.calculators.calculator import Calculator, all_changes

    class Pairs(Calculator):
        implemented_properties = ("energy", "forces")

        def calculate(self, atoms: Any = None, properties: Any = (), system_changes: Any = all_changes) -> None:
            super().calculate(atoms, properties, system_changes)
            energy, forces = _predicted(member, list(atoms.symbols), atoms.positions)
            self.results = {"energy": energy, "forces": forces}

    return Pairs()


def program(folder: Path) -> None:
    """A `psiflow` in this folder that knows the family by the path of this file."""
    from tests import warm

    warm.server().program(folder / "psiflow", __file__)


def main() -> None:
    """`psiflow` with this family among its own."""
    from types import SimpleNamespace

    from psiflow_cli import registry
    from psiflow_cli.main import main as psiflow

    load: Any = registry.load
    own = SimpleNamespace(**{**globals(), "__name__": __file__})
    registry.load = lambda kind, name: own if name == __file__ else load(kind, name)  # type: ignore[assignment]
    psiflow()


if __name__ == "__main__":
    main()
