"""Energy, forces and stress of a frame, under the names that programs give them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from psiflow_cli import voigt
from psiflow_cli.errors import UsageError, nearest
from psiflow_cli.extxyz.frame import Frame

if TYPE_CHECKING:
    from psiflow_cli.messages import Labels, Vectors, Voigt

LABELS = ("energy", "forces", "stress")
CANDIDATES = {label: (label, f"REF_{label}", f"dft_{label}") for label in LABELS}
"""The names under which each label is looked for, unless it is said which to take."""

# Results that belong to the labels: beside new ones, or on a structure that was moved, they would be wrong.
_COMPANIONS = (
    "free_energy", "energies", "virial", "stresses", "dipole", "magmom", "magmoms",
    "REF_virial", "REF_virials", "dft_virial", "dft_virials", "dft_force", "REF_force",
)  # fmt: skip
PREDICTIONS = ("model_energy", "model_forces", "model_stress", "model_energy_std", "model_forces_std")
"""What `evaluate` writes."""
MORE = "psiflow_properties"
"""The key that names what `label` has written besides energy, forces and stress, such as charges."""
FAILURE = ("failure", "failure_message")
"""The keys that say why a frame has no result: its class, and the reason."""
PROVENANCE = ("psiflow_id", "psiflow_reference", "psiflow_code", "psiflow_recovery", MORE, *FAILURE)
"""What `label` writes beside the labels."""

# Printed with few digits, or made by a plane-wave code, a stress is symmetric to about so much of its largest part.
_ASYMMETRY = 1e-3


def parse_keys(text: str) -> dict[str, str]:
    """`energy=REF_energy,forces=REF_forces` as a dict; raises UsageError."""
    keys: dict[str, str] = {}
    for part in text.split(","):
        label, equals, name = (word.strip() for word in part.partition("="))
        if not equals or not name:
            problem = f"--keys {text!r}: {part!r} is not LABEL=NAME"
            raise UsageError(problem, "as in energy=REF_energy,forces=REF_forces")
        if label not in LABELS:
            raise UsageError(f"--keys {text!r}: {label!r} is no label", nearest(label, LABELS))
        if label in keys:
            raise UsageError(f"--keys {text!r}: {label} twice")
        keys[label] = name
    return keys


def labels(frame: Frame, keys: Mapping[str, str] | None = None) -> Labels:
    """Energy, forces and stress, under the names in `keys`; what it does not mention, under the standard names.

    Raises BadData for a label with two candidates, for one that `keys` names and the frame lacks (an isolated atom
    needs no forces, and a frame without a Lattice no stress), and for one that is no finite number of the right shape.
    """
    keys = keys or {}
    return {
        "energy": _energy(frame, name) if (name := _name(frame, "energy", keys)) else None,
        "forces": _forces(frame, name) if (name := _name(frame, "forces", keys)) else None,
        "stress": _stress(frame, name) if (name := _name(frame, "stress", keys)) else None,
    }


def label(frame: Frame, name: str, keys: Mapping[str, str] | None = None) -> float | Vectors | Voigt | None:
    """One of the labels; see `labels`."""
    column_or_key = _name(frame, name, keys or {})
    return _READ[name](frame, column_or_key) if column_or_key else None


def label_names(frame: Frame, keys: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """The keys and columns of this frame that hold labels or belong to them."""
    present = {pair.key for pair in frame.pairs} | {column.name for column in frame.layout.columns}
    more = next((str(pair.value).strip('"').split() for pair in frame.pairs if pair.key == MORE), [])
    names = (*(name for names in CANDIDATES.values() for name in names), *(keys or {}).values(), *_COMPANIONS, *more)
    return tuple(name for name in dict.fromkeys(names) if name in present)


def _name(frame: Frame, label: str, keys: Mapping[str, str]) -> str | None:
    """The key or column that holds this label."""
    if label == "forces":
        present = {column.name for column in frame.layout.columns}
    else:
        present = {pair.key for pair in frame.pairs if pair.value is not None}
    if label in keys:
        name = keys[label]
        if name in present:
            return name
        if (label == "forces" and frame.natoms == 1) or (label == "stress" and frame.lattice is None):
            return None
        kind = "column" if label == "forces" else "key"
        hint = nearest(name, sorted(present)) if present else "the frame has none"
        raise frame.place.error(f"no {kind} {name!r} for the {label}", hint)
    candidates = [name for name in CANDIDATES[label] if name in present]
    if len(candidates) > 1:
        problem = f"{' and '.join(candidates)} could both be the {label}"
        raise frame.place.error(problem, f"say which: --keys {label}={candidates[1]}")
    return candidates[0] if candidates else None


def _energy(frame: Frame, name: str) -> float:
    value = frame.info[name]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise frame.place.error(f"{name}={str(value)[:40]!r} is no number")
    return _finite(frame, name, [float(value)])[0]


def _forces(frame: Frame, name: str) -> list[list[float]]:
    column = frame.layout.find(name)
    if column is None or column.kind not in ("R", "I") or column.size != 3:
        raise frame.place.error(f"the column {name} is not {name}:R:3")
    rows = [list(map(float, row)) for row in frame.column(name)]
    _finite(frame, name, [x for row in rows for x in row])
    return rows


def _stress(frame: Frame, name: str) -> list[float]:
    value = frame.info[name]
    rows = value if isinstance(value, list) else [value]
    flat = [x for row in rows for x in (row if isinstance(row, list) else [row])]
    if len(flat) not in (6, 9) or not all(isinstance(x, (int, float)) and not isinstance(x, bool) for x in flat):
        raise frame.place.error(f"{name} is not nine numbers, nor six (xx, yy, zz, yz, xz, xy)")
    numbers = _finite(frame, name, list(map(float, flat)))
    if len(numbers) == 6:
        return numbers
    matrix = [numbers[i : i + 3] for i in (0, 3, 6)]
    size = max(map(abs, numbers))
    if any(abs(matrix[i][j] - matrix[j][i]) > _ASYMMETRY * size for i in range(3) for j in range(i)):
        raise frame.place.error(f"{name} is no symmetric matrix", "a stress has nine numbers, row by row")
    return voigt.from_matrix(matrix)


_READ: dict[str, Callable[[Frame, str], float | Vectors | Voigt]]
_READ = {"energy": _energy, "forces": _forces, "stress": _stress}


def _finite(frame: Frame, name: str, numbers: Sequence[float]) -> list[float]:
    if not all(map(math.isfinite, numbers)):
        raise frame.place.error(f"a label is not a finite number: {name}", "remove the frame, or label it again")
    return list(numbers)
