"""Keys and columns that look like labels under names that nobody reads, and the option that reads them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches

from psiflow_cli import voigt
from psiflow_cli.extxyz.frame import Frame
from psiflow_cli.extxyz.labelling.reading import FAILURE, LABELS, PREDICTIONS, PROVENANCE, VIRIAL, holds
from psiflow_cli.extxyz.velocities import UNITS

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_WORDS = {
    "energy": ("energy", "energies", "etot", "toten", "epot", "escf", "ener", "en", "e", "pe", "u"),
    "forces": ("forces", "force", "frc", "f"),
    "stress": ("stress",),
    VIRIAL: (VIRIAL, f"{VIRIAL}s"),
}
_OTHER_THAN = {
    "energy": {
        "kinetic", "kin", "ekin", "std", "error", "weight", "formation", "binding", "cohesive", "atomization",
        "atomisation", "interaction", "adsorption", "fermi", "hull", "gap", "cutoff", "correction", "dispersion",
        "atomic", "atom", "isolated", "per", "surface", "zero", "point", "unit", "units", "model", "mace", "predicted",
        "pred", "bias", "spring", "solvation", "relative", "shift", "reorganization", "ionization", "affinity",
    },
    "forces": {"std", "error", "weight", "max", "mask", "model", "mace", "predicted", "pred", "bias", "constant"},
    "stress": {"std", "error", "weight", "max", "model", "mace", "predicted", "pred", "local", "atomic"},
    VIRIAL: {"std", "error", "weight", "max", "model", "mace", "predicted", "pred", "local", "atomic"},
}  # fmt: skip
"""A key with one of these words holds another quantity."""
_METHODS = {"dft", "ref", "tot", "total", "pot", "scf", "qm", "pbe", "hf", "vasp", "ev"}
_GRADIENT = ("gradient", "gradients", "grad", "grads")
_LABEL_THEM = "label it first, or give its key: --keys energy=MY_energy,forces=MY_forces"


def hint(frame: Frame, keys: Mapping[str, str] | None = None) -> str:
    """What to do about a label that the frame lacks: the option that reads what looks like it, or to label it."""
    named = unread(frame, keys)
    if named:
        return f"if it has another name, use --keys {option({**(keys or {}), **named})}"
    gradient = next((c.name for c in frame.layout.columns if c.size == 3 and {*_split(c.name)} & {*_GRADIENT}), None)
    if gradient and not holds(frame, "forces", keys):
        return f"{gradient} looks like a gradient: write the forces, which are minus the gradient, as forces"
    axes = [column.name for column in frame.layout.columns if re.fullmatch(r"_?f_?[xyz]", column.name.lower())]
    if len(axes) == 3 and not holds(frame, "forces", keys):
        return f"make one column of {', '.join(axes)}: Properties=…:forces:R:3"
    return _LABEL_THEM


def unread_stress(frame: Frame, keys: Mapping[str, str] | None = None) -> str:
    """What to say of a stress or virial that nobody reads, or ""."""
    named = {kind: name for kind, name in unread(frame, keys).items() if kind in ("stress", VIRIAL)}
    if not named or not voigt.is_defined(frame.periodic):
        return ""
    (name,) = named.values()
    return f"{name} looks like a stress, but is not read: use --keys {option({**(keys or {}), **named})} to read it"


def unread(frame: Frame, keys: Mapping[str, str] | None = None) -> dict[str, str]:
    """For each label that the frame lacks, and for `virial`, the key or column that looks like it."""
    named: dict[str, str] = {}
    for label in LABELS:
        if holds(frame, label, keys):
            continue
        for kind in ("stress", VIRIAL) if label == "stress" else (label,):
            name = _nearest(kind, _candidates(frame, label))
            if name and label not in named:
                named[kind] = name
    return {kind: name for kind, name in named.items() if kind != VIRIAL or "stress" not in named}


def alike(frame: Frame) -> list[str]:
    """All keys and columns that look like labels: on a structure that was moved they are wrong, whatever their name."""
    return [name for label in LABELS for name in _candidates(frame, label) if _nearest(label, [name])]


def option(keys: Mapping[str, str]) -> str:
    """The value of --keys that says this."""
    text = ",".join(f"{label}={name}" for label, name in keys.items())
    return text if re.fullmatch(r"[\w=,.+:/@-]+", text) else f"'{text}'"


def _candidates(frame: Frame, label: str) -> list[str]:
    """The keys or columns that have the form of this label and belong to nothing that is known."""
    if label == "forces":
        names = [column.name for column in frame.layout.columns if column.size == 3 and column.kind in "RI"]
    else:
        size = (1,) if label == "energy" else (3, 6, 9)
        names = [name for name, value in frame.info.items() if _numbers(value) in size]
    ours = (*PREDICTIONS, *PROVENANCE, *FAILURE)
    return [name for name in names if name not in ours and name not in ("pos", *UNITS)]


def _numbers(value: object) -> int:
    """How many numbers a value has; of a matrix its rows; 0 for anything else."""
    values = value if isinstance(value, list) else [value]
    plain = all(isinstance(x, (int, float, list)) and not isinstance(x, bool) for x in values)
    return len(values) if plain else 0


def _nearest(label: str, names: list[str]) -> str | None:
    """The name that says least besides the label's own word; of equals, the first."""
    alike = []
    for name in names:
        words = _split(name)
        own = [word for word in words if word in _WORDS[label] or get_close_matches(word, _WORDS[label][:1], 1, 0.8)]
        # a single letter may stand for anything, unless it is all there is besides a method
        if (
            own
            and (len(own[0]) > 1 or _METHODS.issuperset({*words} - {*own}))
            and not _OTHER_THAN[label].intersection(words)
        ):
            alike.append((len(words), name))
    return min(alike, key=lambda each: each[0])[1] if alike else None


def _split(name: str) -> list[str]:
    """The words of a name in lower case: DFT_energy, dftEnergy and dft-energy are dft and energy."""
    return [word.lower() for word in _WORD.findall(name)]
