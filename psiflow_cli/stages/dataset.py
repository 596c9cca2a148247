"""Labelled frames as a trainer needs them: checked, split, with the energies of isolated atoms, in one spelling."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from psiflow_cli import extxyz
from psiflow_cli.errors import BadData
from psiflow_cli.stages.results import Survey
from psiflow_cli.stages.split import assign, is_isolated_atom

E0S = dict[str, float]
SAME_ENERGY_EV = 1e-6
"""Two energies of one isolated atom that differ by more are a contradiction."""


@dataclass
class Dataset:
    """What is known of the training and validation frames after reading them once."""

    parts: list[str] = field(default_factory=list)
    """`train`, `valid` or `atom` of each frame, the validation file's after the others."""
    elements: set[str] = field(default_factory=set)
    e0s: E0S = field(default_factory=dict)
    with_stress: int = 0
    periodic: int = 0
    crystals_of_one_atom: set[str] = field(default_factory=set)

    def count(self, part: str) -> int:
        """How many frames a part has."""
        return self.parts.count(part)


def read(
    frames: Iterator[extxyz.Frame],
    valid: Iterator[extxyz.Frame] | None,
    share: float,
    seed: int,
    keys: dict[str, str] | None,
) -> Dataset:
    """Check every frame; without a validation file, draw `share` of the distinct structures for it.

    Raises BadData for a frame without labels, with values that are not finite, or with isolated atoms that disagree.
    """
    data = Dataset()
    places: list[str] = []

    def see(frame: extxyz.Frame) -> None:
        places.append("atom" if is_isolated_atom(frame) else "frame")
        _check(frame, keys, data)

    survey = Survey(frames, (), see)
    atoms = [place == "atom" for place in places]
    distinct = [key for key, atom in zip(survey.ids, atoms, strict=True) if not atom]
    shares = {"train": 1.0} if valid is not None else {"train": 1 - share, "valid": share}
    drawn = assign(distinct, shares, seed)
    data.parts = ["atom" if atom else drawn[key] for key, atom in zip(survey.ids, atoms, strict=True)]
    if valid is not None:
        places.clear()
        Survey(valid, (), see)
        data.parts += ["atom" if place == "atom" else "valid" for place in places]
    return data


def _check(frame: extxyz.Frame, keys: dict[str, str] | None, data: Dataset) -> None:
    label = extxyz.labels(frame, keys)
    where = frame.where
    isolated = is_isolated_atom(frame)
    if label["energy"] is None:
        raise BadData(
            f"{where}: no energy", "label it first, or name its key: --keys energy=MY_energy,forces=MY_forces"
        )
    if label["forces"] is None and not isolated:
        raise BadData(f"{where}: no forces", "label it first, or name its key: --keys forces=MY_forces")
    numbers = [label["energy"], *(x for row in label["forces"] or [] for x in row), *(label["stress"] or [])]
    if not all(map(math.isfinite, numbers)):
        raise BadData(f"{where}: a label is not a finite number", "remove the frame, or label it again")
    if isolated:
        _note_atom(frame.symbols[0], label["energy"], where, data.e0s)
        return
    if frame.natoms == 1:
        data.crystals_of_one_atom.update(frame.symbols)
    data.elements.update(frame.symbols)
    data.periodic += any(frame.pbc)
    data.with_stress += label["stress"] is not None


def _note_atom(symbol: str, energy: float, where: str, e0s: E0S) -> None:
    known = e0s.setdefault(symbol, energy)
    if abs(known - energy) > SAME_ENERGY_EV:
        raise BadData(
            f"{where}: an isolated {symbol} atom at {energy} eV, but an earlier one at {known} eV",
            "keep one per element, or give the energies with --e0s",
        )


def atomic_energies(data: Dataset, given: E0S | str | None) -> E0S | str:
    """Energies (eV) of isolated atoms: those given, else those of one-atom frames; an average only if asked for.

    Raises BadData that names every element without one.
    """
    if given == "average":
        return "average"
    known = {**data.e0s, **(given if isinstance(given, dict) else {})}
    missing = sorted(data.elements - known.keys())
    if missing:
        crystal = " (one-atom frames that are periodic count as crystals unless config_type=IsolatedAtom)"
        note = crystal if data.crystals_of_one_atom & set(missing) else ""
        raise BadData(
            f"no energy of an isolated atom for {', '.join(missing)}{note}",
            "add one-atom frames to the data, or give --e0s FILE, --e0s '{8: -432.1, …}' or --e0s average",
        )
    return {e: known[e] for e in sorted(data.elements)}


def parse_e0s(text: str) -> E0S | str:
    """`average`, a dict of atomic numbers or symbols, or a file of one-atom frames or with such a dict.

    Raises ValueError for what is none of these.
    """
    if text.strip().lower() == "average":
        return "average"
    if not text.lstrip().startswith("{"):
        path = Path(text)
        if not path.is_file():
            raise ValueError(f"{text!r} is neither a file nor a dict such as '{{1: -13.6, 8: -432.1}}' nor average")
        if path.suffix in (".xyz", ".extxyz"):
            e0s: E0S = {}
            for frame in extxyz.read(path):
                energy = extxyz.labels(frame, None)["energy"]
                if frame.natoms == 1 and energy is not None:
                    _note_atom(frame.symbols[0], energy, frame.where, e0s)
            return e0s
        text = path.read_text()
    return _parse_dict(text)


def _parse_dict(text: str) -> E0S:
    import ast

    try:
        data = ast.literal_eval(text.strip())
        pairs = {_symbol(k): float(v) for k, v in data.items()}
        if not all(map(math.isfinite, pairs.values())):
            raise ValueError
    except (ValueError, SyntaxError, AttributeError, TypeError):
        raise ValueError(
            f"{text.strip()[:60]!r} is not a dict of atomic numbers (or symbols) and energies in eV"
        ) from None
    return pairs


def _symbol(key: Any) -> str:
    if isinstance(key, int) and 1 <= key <= len(extxyz.SYMBOLS):
        return extxyz.SYMBOLS[key - 1]
    if isinstance(key, str) and key in extxyz.SYMBOLS:
        return key
    raise ValueError(f"{key!r} is no element")


def render(frames: Iterator[extxyz.Frame], parts: list[str], part: str, keys: dict[str, str] | None) -> Iterator[str]:
    """The frames of one part, with their labels in the standard keys and nothing a trainer could mistake for one."""
    for place, frame in zip(parts, frames, strict=True):
        if place != part:
            continue
        label = extxyz.labels(frame, keys)
        stress = label["stress"]
        yield extxyz.new_frame(
            frame.symbols,
            frame.positions,
            frame.cell,
            frame.pbc,
            info={
                "energy": label["energy"],
                **({"stress": extxyz.voigt_to_matrix(stress)} if stress else {}),
                **{k: v for k, v in frame.info.items() if k in ("config_type", "config_weight")},
            },
            columns={"forces": ("R", label["forces"])},
        )
