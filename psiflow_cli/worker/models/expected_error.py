"""The error that is expected where the members of a calibrated committee differ by so much."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from psiflow_cli.messages import ErrorScale, ErrorScales, Prediction


def expected(spread: float, scale: ErrorScale) -> float:
    """The root mean square of errors at this spread; both of one force in eV/Å, or of an energy per atom in eV."""
    return math.hypot(scale["scale"] * spread, scale["floor"])


def with_expected_errors(prediction: Prediction, scales: ErrorScales | None) -> Prediction:
    """The prediction of a committee with its expected errors; as it is where the model is not calibrated."""
    if scales is None or "forces_std" not in prediction:
        return prediction
    complete: Prediction = {
        **prediction,
        "forces_expected_error": [expected(spread, scales["forces"]) for spread in prediction["forces_std"]],
    }
    if "energy" in scales:
        number = len(prediction["forces_std"])
        complete["energy_expected_error"] = number * expected(prediction["energy_std"] / number, scales["energy"])
    return complete
