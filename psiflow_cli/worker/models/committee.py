"""Predictions of one model, or the mean and the spread of several."""

from __future__ import annotations

from typing import Any

from psiflow_cli.worker.models.committee_calculator import spread
from psiflow_cli.worker.models.weights import check
from psiflow_cli.worker.process import call

Wire = dict[str, Any]


def evaluate(
    frames: list[Wire], family: str, members: list[str], context: Wire, weights: dict[str, str] | None = None
) -> list[Wire]:
    """A prediction for each frame; from a committee, the mean over its members.

    `energy_std` (eV) and `forces_std` (eV/Å, of each atom; see `committee_calculator.spread`) come with a
    committee only.
    `weights` (path: sha256) must be what is there: raises Fatal where a file was replaced.
    """
    check(weights or {})
    predict = call.resolve(f"{family}:predict")
    per_member: list[list[Wire]] = predict(frames=frames, members=members, context=context)
    if len(members) == 1:
        return per_member[0]
    return [_combine(list(of_frame)) for of_frame in zip(*per_member, strict=True)]


def _combine(results: list[Wire]) -> Wire:
    import numpy as np

    for result in results:
        if "failure" in result:
            return result
    energies = np.array([r["energy"] for r in results])
    forces = np.array([r["forces"] for r in results])
    energy_std, forces_std = spread(energies, forces)
    stresses = [r["stress"] for r in results]
    stress = None if any(s is None for s in stresses) else np.mean(stresses, axis=0).tolist()
    return {
        "energy": float(energies.mean()),
        "forces": forces.mean(axis=0).tolist(),
        "stress": stress,
        "energy_std": energy_std,
        "forces_std": forces_std,
    }
