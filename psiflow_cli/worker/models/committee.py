"""Several models as one: their mean and their spread, of many frames at once or as one ASE calculator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from psiflow_cli.worker.models.interfaces import computed
from psiflow_cli.worker.models.weights import check
from psiflow_cli.worker.pool import call

if TYPE_CHECKING:
    import numpy as np
    from ase import Atoms
    from ase.calculators.calculator import Calculator

    from psiflow_cli.messages import Context, Frame, Prediction, PredictionResult


def evaluate(
    frames: list[Frame], family: str, members: list[str], context: Context, weights: dict[str, str] | None = None
) -> list[PredictionResult]:
    """A prediction for each frame; from a committee, the mean over its members, and their `spread`.

    `weights` (path: sha256) must be what is there: raises Fatal where a file was replaced.
    """
    check(weights or {})
    predict = call.resolve(f"{family}:predict")
    per_member = cast("list[list[PredictionResult]]", predict(frames=frames, members=members, context=context))
    if len(members) == 1:
        return per_member[0]
    return [_combine(of_frame) for of_frame in zip(*per_member, strict=True)]


def _combine(results: Sequence[PredictionResult]) -> PredictionResult:
    import numpy as np

    for result in results:
        if "failure" in result:
            return result
    predictions = cast("Sequence[Prediction]", results)
    energies = np.array([each["energy"] for each in predictions])
    forces = np.array([each["forces"] for each in predictions])
    energy_std, forces_std = spread(energies, forces)
    stresses = [each["stress"] for each in predictions if each["stress"] is not None]
    stress = np.mean(stresses, axis=0).tolist() if len(stresses) == len(predictions) else None
    return {
        "energy": float(energies.mean()),
        "forces": forces.mean(axis=0).tolist(),
        "stress": stress,
        "energy_std": energy_std,
        "forces_std": forces_std,
    }


def spread(
    energies: Sequence[float] | np.ndarray, forces: Sequence[np.ndarray] | np.ndarray
) -> tuple[float, list[float]]:
    """Standard deviations over a committee's members: of the energy (eV), and of the force on each atom (eV/Å).

    The latter is the norm of those of the three components. Both are those of the members themselves (division by
    their number), as MACE's calculator gives them.
    """
    import numpy as np

    return float(np.std(energies)), np.linalg.norm(np.std(forces, axis=0), axis=1).tolist()


def mean(members: Sequence[Calculator]) -> Calculator:
    """Mean energy, forces and stress; its `spread` is that of the positions computed last, see the function."""

    def compute(atoms: Atoms, properties: Sequence[str]) -> computed.Results:
        values = computed.together(members, atoms, properties)
        vars(mean_calculator)["spread"] = spread(values["energy"], values["forces"])
        means: computed.Results = {name: each.mean(axis=0) for name, each in values.items()}
        return {**means, "energy": float(means["energy"])}

    mean_calculator = computed.calculator(compute, parts=members)
    return mean_calculator
