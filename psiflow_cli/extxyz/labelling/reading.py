"""Energy, forces and stress of a frame, under the names that programs give them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from psiflow_cli import voigt
from psiflow_cli.errors import UsageError, counted, nearest
from psiflow_cli.extxyz.frame import Frame, is_isolated_atom
from psiflow_cli.extxyz.layout import volume

if TYPE_CHECKING:
    from psiflow_cli.messages import Labels, Vectors, Voigt

LABELS = ("energy", "forces", "stress")
_PREFIXES = ("", "REF_", "dft_")
CANDIDATES = {label: tuple(prefix + label for prefix in _PREFIXES) for label in LABELS}
"""The names under which each label is looked for, unless it is said which to take."""
VIRIAL = "virial"
CANDIDATES["stress"] += tuple(prefix + name for prefix in _PREFIXES for name in (VIRIAL, f"{VIRIAL}s"))

# Results that belong to the labels: beside new ones, or on a structure that was moved, they would be wrong. So would
# virials, under any name.
_COMPANIONS = (
    "free_energy", "energies", "stresses", "dipole", "magmom", "magmoms", "dft_force", "REF_force",
)  # fmt: skip
PREDICTIONS = (
    *("model_energy", "model_forces", "model_stress", "model_energy_std", "model_forces_std"),
    *("model_energy_expected_error", "model_forces_expected_error"),
)
"""What `evaluate` writes."""
MORE = "psiflow_properties"
"""The key that names what `label` has written besides energy, forces and stress, such as charges."""
FAILURE = ("failure", "failure_message")
"""The keys that say why a frame has no result: its class, and the reason."""
PROVENANCE = ("psiflow_id", "psiflow_reference", "psiflow_code", "psiflow_recovery", MORE, *FAILURE)
"""What `label` writes beside the labels."""

# Printed with few digits, or made by a plane-wave code, a stress is symmetric to about so much of its largest part.
_ASYMMETRY = 1e-3
_LEAST_VOLUME = 1e-3  # Å³
# Two candidates of one label are the same number, printed twice, within so much: of its size, and in eV, eV/Å, eV/Å³.
_ROUNDING = {"energy": (1e-7, 1e-6), "forces": (1e-5, 1e-5), "stress": (1e-4, 1e-7)}


def parse_keys(text: str) -> dict[str, str]:
    """`energy=REF_energy,forces=REF_forces` as a dict, which may have a `virial`, too; raises UsageError."""
    keys: dict[str, str] = {}
    for part in text.split(","):
        label, equals, name = (word.strip() for word in part.partition("="))
        if not equals or not name:
            problem = f"--keys {text!r}: {part!r} is not LABEL=NAME"
            raise UsageError(problem, "as in energy=REF_energy,forces=REF_forces")
        label = VIRIAL if label == f"{VIRIAL}s" else label
        if label not in (*LABELS, VIRIAL):
            raise UsageError(f"--keys {text!r}: {label!r} is not a label", nearest(label, (*LABELS, VIRIAL)))
        if label in keys:
            raise UsageError(f"--keys {text!r}: {label} twice")
        keys[label] = name
    return keys


def labels(frame: Frame, keys: Mapping[str, str] | None = None) -> Labels:
    """Energy, forces and stress, under the names in `keys`; what it does not mention, under the standard names.

    A virial (eV, of the whole cell) is read as the stress -virial/volume. A frame that is not periodic in all three
    directions has no stress, whatever it says. Raises BadData for candidates of one label that differ, for a label that
    `keys` names and the frame lacks (an isolated atom needs an energy only), and for one that is no finite number of
    the right shape.
    """
    keys = keys or {}
    return cast("Labels", {name: label(frame, name, keys) for name in LABELS})


def label(frame: Frame, name: str, keys: Mapping[str, str] | None = None) -> float | Vectors | Voigt | None:
    """One of the labels; see `labels`."""
    keys = keys or {}
    present = _present(frame, name, keys)
    if name == "stress" and not voigt.is_defined(frame.periodic):
        for each in present:
            _six_or_nine(frame, each, _virial(frame, each))  # what is no stress at all is wrong in any frame
        return None
    if not present:
        _check_named(frame, name, keys)
        return None
    first = _read(frame, name, present[0], keys)
    for other in present[1:]:
        if _differ(name, first, _read(frame, name, other, keys)):
            problem = f"{present[0]} and {other} could both be the {name}, but differ"
            which = VIRIAL if _is_virial(other, keys) else name
            raise frame.place.error(problem, f"choose one: --keys {which}={other}")
    return first


def label_names(frame: Frame, keys: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """The keys and columns of this frame that hold labels or belong to them."""
    present = {pair.key for pair in frame.pairs} | {column.name for column in frame.layout.columns}
    more = next((str(pair.value).strip('"').split() for pair in frame.pairs if pair.key == MORE), [])
    virials = sorted(name for name in present if _is_virial(name, {}))
    names = (*(name for names in CANDIDATES.values() for name in names), *(keys or {}).values(), *_COMPANIONS, *more)
    return tuple(name for name in dict.fromkeys((*names, *virials)) if name in present)


def holds(frame: Frame, label: str, keys: Mapping[str, str] | None = None) -> bool:
    """Whether a frame has a label, read or not."""
    return bool(_present(frame, label, keys or {}))


def unused_stress(frame: Frame, keys: Mapping[str, str] | None = None) -> bool:
    """Whether a frame comes with a stress that nothing uses, since it is not periodic in all three directions."""
    return not voigt.is_defined(frame.periodic) and holds(frame, "stress", keys) and not is_isolated_atom(frame)


def unused_stress_note(count: int) -> str:
    """What to say of so many of them."""
    whose = "a frame that is" if count == 1 else f"{counted(count, 'frame')} that are"
    return f"the stress of {whose} not periodic in all three directions is not used"


def _names(label: str, keys: Mapping[str, str]) -> tuple[str, ...]:
    """Under which names a label is looked for: those that `keys` says, else the usual ones."""
    named = tuple(keys[each] for each in ((label, VIRIAL) if label == "stress" else (label,)) if each in keys)
    return named or CANDIDATES[label]


def _present(frame: Frame, label: str, keys: Mapping[str, str]) -> list[str]:
    """The keys or columns that hold this label."""
    names, find = _names(label, keys), frame.layout.find
    if label == "forces":
        return [name for name in names if find(name)]
    pairs = _pairs(frame)
    return [name for name in names if name in pairs or (label == "stress" and find(name) and _is_virial(name, keys))]


def _pairs(frame: Frame) -> set[str]:
    return {pair.key for pair in frame.pairs if pair.value is not None}


def _check_named(frame: Frame, label: str, keys: Mapping[str, str]) -> None:
    """Raise BadData for a label that is not where `keys` says it is."""
    names = _names(label, keys)
    not_needed = (label == "forces" and frame.natoms == 1) or (label == "stress" and is_isolated_atom(frame))
    if names is CANDIDATES[label] or not_needed:
        return
    kind, present = "key", _pairs(frame)
    if label == "forces":
        kind, present = "column", {column.name for column in frame.layout.columns}
    hint = nearest(names[0], sorted(present)) if present else "the frame has none"
    raise frame.place.error(f"no {kind} {names[0]!r} for the {label}", hint)


def _is_virial(name: str, keys: Mapping[str, str]) -> bool:
    """Whether a key or column holds a virial: because `keys` says so, or by its name."""
    return keys.get(VIRIAL) == name or (VIRIAL in name.lower() and "weight" not in name.lower())


def _read(frame: Frame, label: str, name: str, keys: Mapping[str, str]) -> float | Vectors | Voigt:
    if label == "energy":
        return _energy(frame, name)
    if label == "forces":
        return _forces(frame, name)
    if not _is_virial(name, keys):
        return _stress(frame, name, frame.info[name])
    of_cell = _volume(frame)
    return [-x / of_cell for x in _stress(frame, name, _virial(frame, name))]


def _differ(label: str, one: object, two: object) -> bool:
    relative, absolute = _ROUNDING[label]
    first, second = _flat(one), _flat(two)
    size = max(map(abs, first), default=0.0)
    return any(abs(a - b) > relative * size + absolute for a, b in zip(first, second, strict=True))


def _flat(numbers: Any) -> list[Any]:
    rows = numbers if isinstance(numbers, list) else [numbers]
    return [x for row in rows for x in (row if isinstance(row, list) else [row])]


def _energy(frame: Frame, name: str) -> float:
    value = frame.info[name]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise frame.place.error(f"{name}={str(value)[:40]!r} is not a number")
    return _finite(frame, name, [float(value)])[0]


def _forces(frame: Frame, name: str) -> list[list[float]]:
    column = frame.layout.find(name)
    if column is None or column.kind not in ("R", "I") or column.size != 3:
        raise frame.place.error(f"the column {name} is not {name}:R:3")
    rows = [list(map(float, row)) for row in frame.column(name)]
    _finite(frame, name, [x for row in rows for x in row])
    return rows


def _virial(frame: Frame, name: str) -> object:
    """A virial of the frame, or the sum of those of its atoms."""
    column = frame.layout.find(name)
    if name in frame.info or column is None:
        return frame.info[name]
    if column.kind not in ("R", "I") or column.size not in (6, 9):
        raise frame.place.error(f"the column {name} is not {name}:R:9")
    return [math.fsum(parts) for parts in zip(*frame.column(name), strict=True)]


def _volume(frame: Frame) -> float:
    of_cell = volume(frame.lattice) if frame.lattice else 0.0
    if of_cell < _LEAST_VOLUME:
        raise frame.place.error("a virial needs a cell with a volume", "correct the Lattice")
    return of_cell


def _stress(frame: Frame, name: str, value: object) -> list[float]:
    numbers = _finite(frame, name, _six_or_nine(frame, name, value))
    if len(numbers) == 6:
        return numbers
    matrix = [numbers[i : i + 3] for i in (0, 3, 6)]
    size = max(map(abs, numbers))
    if any(abs(matrix[i][j] - matrix[j][i]) > _ASYMMETRY * size for i in range(3) for j in range(i)):
        raise frame.place.error(f"{name} is not a symmetric matrix", "a stress has nine numbers, row by row")
    return voigt.from_matrix(matrix)


def _six_or_nine(frame: Frame, name: str, value: object) -> list[float]:
    flat = _flat(value)
    if len(flat) not in (6, 9) or not all(isinstance(x, (int, float)) and not isinstance(x, bool) for x in flat):
        raise frame.place.error(f"{name} is not nine numbers, nor six (xx, yy, zz, yz, xz, xy)")
    return list(map(float, flat))


def _finite(frame: Frame, name: str, numbers: Sequence[float]) -> list[float]:
    if not all(map(math.isfinite, numbers)):
        raise frame.place.error(f"a label is not a finite number: {name}", "remove the frame, or label it again")
    return list(numbers)
