"""A model's predictions as the keys and columns of a frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psiflow_cli import voigt

if TYPE_CHECKING:
    from psiflow_cli.extxyz.writer import Columns
    from psiflow_cli.messages import Prediction


def info(prediction: Prediction) -> dict[str, object]:
    """`model_energy`, `model_stress` as a matrix, `model_energy_std` of a committee, and its expected error."""
    keys: dict[str, object] = {"model_energy": prediction["energy"]}
    if prediction["stress"] is not None:
        keys["model_stress"] = voigt.to_matrix(prediction["stress"])
    if "energy_std" in prediction:
        keys["model_energy_std"] = prediction["energy_std"]
    if "energy_expected_error" in prediction:
        keys["model_energy_expected_error"] = prediction["energy_expected_error"]
    return keys


def columns(prediction: Prediction) -> Columns:
    """`model_forces`, `model_forces_std` of a committee, and its expected errors."""
    values: Columns = {"model_forces": ("R", prediction["forces"])}
    if "forces_std" in prediction:
        values = {**values, "model_forces_std": ("R", [[spread] for spread in prediction["forces_std"]])}
    if "forces_expected_error" in prediction:
        values = {**values, "model_forces_expected_error": ("R", [[x] for x in prediction["forces_expected_error"]])}
    return values
