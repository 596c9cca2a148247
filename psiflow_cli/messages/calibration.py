"""How large an error a committee's spread stands for, as `evaluate --calibrate` found it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from typing_extensions import NotRequired


class ErrorScale(TypedDict):
    """How large an error is expected where the spread is s: the root of (scale s)² + floor²."""

    scale: float
    floor: float  # eV/Å for the force on an atom, eV for the energy per atom


class ErrorScales(TypedDict):
    """All that a committee's expected errors depend on."""

    forces: ErrorScale
    energy: NotRequired[ErrorScale]


class CalibrationBin(TypedDict):
    """Root mean squares over the pairs whose spread lies between two limits, in the unit of the floor."""

    spread: float
    expected: float
    error: float
    count: int


class CalibratedQuantity(ErrorScale):
    """How the scale was found, and how good it is on the frames that it was found with."""

    count: int  # pairs of a spread and an error
    outliers: int  # pairs whose error is so much larger than expected that it counted for less
    rank_correlation: float  # Spearman's, of spread and error
    ratio_before: float  # root mean square of the errors, over that of the spreads
    ratio_after: float  # the same, over that of the expected errors
    calibration_error_before: float  # mean over the bins of |spread - error| / the larger of the two
    calibration_error_after: float  # the same of expected error and error
    bins: list[CalibrationBin]


class Calibration(TypedDict):
    """calibration.json of a model bundle."""

    weights: str  # fingerprint of the weights that it belongs to
    method: str
    psiflow: str
    data: dict[str, str]  # sha256 of the files with the frames, by their names
    frames: int  # that it was found with
    forces: CalibratedQuantity
    energy: NotRequired[CalibratedQuantity]
    sha256: str  # of everything else
