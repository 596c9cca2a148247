"""What a parity plot shows, as arrays: energies, forces and stresses of frames, and their errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from psiflow_cli.worker.plots.style import number

if TYPE_CHECKING:
    import numpy as np

    from psiflow_cli.messages import ComparedFrame, GroupError

    Pair = tuple[np.ndarray, np.ndarray]
    """Labels and predictions."""

_GPA = 160.2176634
"""From eV/Å³ (CODATA 2018)."""
_NORMAL, _SHEAR = slice(0, 3), slice(3, 6)  # of the six components of a stress


@dataclass
class Quantity:
    """One column of a parity plot; labels and predictions are numpy arrays in `unit`."""

    name: str
    title: str
    what: str  # of the points, a plural
    axis: str
    unit: str
    error_unit: str  # a thousandth of `unit`: that of the tables of `psiflow evaluate`
    groups: dict[str, Pair] = field(default_factory=dict)  # what has a colour of its own
    bars: dict[str, np.ndarray] = field(default_factory=dict)
    """By group, the standard deviations over a committee (in `unit`), for error bars."""
    spreads: Pair | None = None  # a committee's spread and the true error (in `error_unit`)
    expected: np.ndarray | None = None  # of a calibrated committee, the expected error (in `error_unit`)
    errors: Sequence[GroupError] = ()  # of all, and of each element and `config_type`

    def error(self, by: str, group: str = "") -> str:
        """RMSE and MAE as lines of text."""
        for row in self.errors:
            if (row["by"], row["group"]) == (by, group):
                return "\n".join(f"{each.upper()} {number(row[each])} {self.error_unit}" for each in ("rmse", "mae"))
        return ""


def of_frames(frames: Sequence[ComparedFrame], errors: Sequence[GroupError]) -> list[Quantity]:
    """The quantities that frames have both labels and predictions of; `errors` are of all frames there are."""
    columns = [column for column in (_energies(frames), _forces(frames), _stresses(frames)) if column.groups]
    for column in columns:
        column.errors = [row for row in errors if row["quantity"] == column.name]
    return columns


def _energies(frames: Sequence[ComparedFrame]) -> Quantity:
    """Per atom and less the mean label, or all would lie in one corner of a range of thousands of eV."""
    import numpy as np

    column = Quantity("energy", "energy", "frames", "energy - mean", "eV/atom", "meV/atom")
    compared = [f for f in frames if _has_both(f, "energy")]
    if compared:
        sizes = np.array([len(f["symbols"]) for f in compared])
        label, prediction = (np.array([f[k]["energy"] for f in compared]) / sizes for k in ("label", "prediction"))
        column.groups = {"": (label - label.mean(), prediction - label.mean())}
        if all("energy_std" in f["prediction"] for f in compared):
            column.bars[""] = np.array([f["prediction"]["energy_std"] for f in compared]) / sizes
            column.spreads = 1e3 * column.bars[""], 1e3 * abs(prediction - label)
        if all("energy_expected_error" in f["prediction"] for f in compared):
            column.expected = 1e3 * np.array([f["prediction"]["energy_expected_error"] for f in compared]) / sizes
    return column


def _forces(frames: Sequence[ComparedFrame]) -> Quantity:
    import numpy as np

    column = Quantity("forces", "forces", "components", "force", "eV/Å", "meV/Å")
    compared = [f for f in frames if _has_both(f, "forces")]
    if compared:
        symbols = np.array([s for f in compared for s in f["symbols"]])
        label, prediction = (np.concatenate([f[k]["forces"] for f in compared]) for k in ("label", "prediction"))
        for s in np.unique(symbols):
            column.groups[str(s)] = label[symbols == s].ravel(), prediction[symbols == s].ravel()
        if all("forces_std" in f["prediction"] for f in compared):
            spreads = np.concatenate([f["prediction"]["forces_std"] for f in compared])
            column.spreads = 1e3 * spreads, 1e3 * np.linalg.norm(prediction - label, axis=1)
            for s in column.groups:  # the spread is the norm of three components
                column.bars[s] = np.repeat(spreads[symbols == s] / 3**0.5, 3)
        if all("forces_expected_error" in f["prediction"] for f in compared):
            column.expected = 1e3 * np.concatenate([f["prediction"]["forces_expected_error"] for f in compared])
    return column


def _stresses(frames: Sequence[ComparedFrame]) -> Quantity:
    import numpy as np

    column = Quantity("stress", "stress", "components", "stress", "GPa", "MPa")
    both = [f for f in frames if _has_both(f, "stress")]
    if both:
        # Shear components stay near zero while the diagonal follows the volume: told apart, both can be judged.
        label, prediction = (_GPA * np.array([f[k]["stress"] for f in both]) for k in ("label", "prediction"))
        for name, part in (("xx, yy, zz", _NORMAL), ("yz, xz, xy", _SHEAR)):
            column.groups[name] = label[:, part].ravel(), prediction[:, part].ravel()
    return column


def _has_both(frame: ComparedFrame, key: str) -> bool:
    return frame["label"].get(key) is not None and frame["prediction"].get(key) is not None
