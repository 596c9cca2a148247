"""The stress of a model by central differences of its energy: what no convention of a sign or a unit can spoil."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from psiflow_cli.worker.failures import failure
from psiflow_cli.worker.models.predictions import Predict, predictor, unfit

if TYPE_CHECKING:
    from psiflow_cli.messages import Context, Failure, Frame, ModelWeights, Stress

VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))  # xx, yy, zz, yz, xz, xy


def stresses(frames: list[Frame], context: Context, model: ModelWeights, strain: float) -> list[Stress | Failure]:
    """*worker*: the stress of each periodic frame, from twelve energies of it, each strained by ±`strain`.

    It is (E(+e) - E(-e)) / (2 e V) for each component e of the strain.
    """
    predict = predictor(model, context)
    return [unfit(frame, None) or _stress(frame, predict, strain) for frame in frames]


def _stress(frame: Frame, predict: Predict, strain: float) -> Stress | Failure:
    import numpy as np

    strained = [_strained(frame, *axes, sign * strain) for axes in VOIGT for sign in (1, -1)]
    energies = []
    for result in predict(strained):
        if "failure" in result:
            failed = cast("Failure", result)
            return failure(failed["failure"], f"in a strained cell: {failed['message']}")
        energies.append(result["energy"])
    pairs = np.array(energies).reshape(6, 2)
    volume = abs(np.linalg.det(np.array(frame["cell"])))
    return {"stress": ((pairs[:, 0] - pairs[:, 1]) / (2 * strain * volume)).tolist()}


def _strained(frame: Frame, i: int, j: int, strain: float) -> Frame:
    """The frame and its cell under one component of the strain; a shear is the engineering strain, twice ε_ij."""
    import numpy as np

    change = np.eye(3)
    change[i, j] += strain / 2
    change[j, i] += strain / 2
    cell, positions = (np.array(frame[name]) @ change for name in ("cell", "positions"))
    return {**frame, "cell": cell.tolist(), "positions": positions.tolist()}
