"""Energies of isolated atoms: from one-atom frames, from the user, or from the model to start from."""

from __future__ import annotations

import math
from pathlib import Path

from psiflow_cli import extxyz, formats
from psiflow_cli.elements import SYMBOLS
from psiflow_cli.errors import BadData
from psiflow_cli.extxyz import Frame

E0S = dict[str, float]
SAME_ENERGY_EV = 1e-6  # two energies of one isolated atom that differ by more are a contradiction
WAYS = {
    "average": "",
    "init": "energies of isolated atoms: those of the model file; if the labels come from another method, give its "
    "energies (psiflow atomic-energies, --e0s), or use --e0s estimated",
    "estimated": "energies of isolated atoms: fitted to the difference of labels and predictions by least squares",
}
"""Ways to energies that are not given, and what to say of them: a fit to all of each element's frames, those of the
model file to start from, and MACE's correction of these."""
DRIFT_EV = 1e-3
"""What an atom's energy in the data may differ from the one in the model to start from, without a word."""


def note_atom(symbol: str, energy: float, where: str, e0s: E0S) -> None:
    """Take the energy of an isolated atom down; raises BadData if it contradicts an earlier one."""
    earlier = e0s.setdefault(symbol, energy)
    if abs(earlier - energy) > SAME_ENERGY_EV:
        problem = f"{where}: an isolated {symbol} atom at {energy} eV, but an earlier one at {earlier} eV"
        raise BadData(problem, "keep one per element, or give the energies with --e0s")


def is_ion(frame: Frame) -> bool:
    """Whether a one-atom frame has a charge: its energy is the atom's only where there is no neutral one."""
    return frame.info.get("charge", 0) not in (0, None)


def choose(
    elements: set[str], in_data: E0S, crystals: set[str], chosen: E0S | str | None, start: E0S | None
) -> tuple[E0S | str, str]:
    """The energies (eV) for these elements and a note: those `chosen`, else those of `start`, else those `in_data`.

    `start` is the model to start from, whose energies its weights were fitted with. `crystals` are elements with
    periodic one-atom frames. An average only if asked for. Raises BadData that names every element without one.
    """
    if isinstance(chosen, str):
        return chosen, WAYS[chosen]
    energies = {**in_data, **(start or {}), **(chosen or {})}
    missing = sorted(elements - energies.keys())
    if missing:
        crystal = " (periodic one-atom frames are crystals unless config_type=IsolatedAtom)"
        note = crystal if crystals & set(missing) else ""
        raise BadData(
            f"no energy of an isolated atom for {', '.join(missing)}{note}",
            "add one-atom frames to the data, or give --e0s FILE, --e0s '{8: -432.1, …}' or --e0s average",
        )
    return {e: energies[e] for e in sorted(elements)}, _drift(in_data, start or {}, chosen or {})


def _drift(in_data: E0S, start: E0S, chosen: E0S) -> str:
    """Where the data's isolated atoms are not those of the model to start from, which are used."""
    far = [e for e in sorted(in_data.keys() & start.keys() - chosen.keys()) if abs(in_data[e] - start[e]) > DRIFT_EV]
    if not far:
        return ""
    differences = ", ".join(f"{e} {in_data[e]:g} eV here, {start[e]:g} eV there" for e in far)
    return (
        "isolated atoms differ from those of the model to start from; its energies are used unless --e0s is given: "
        f"{differences}"
    )


def parse(text: str) -> E0S | str:
    """One of `WAYS`, a dict by atomic number or symbol, or a file with a dict or one-atom frames; else ValueError."""
    if text.strip().lower() in WAYS:
        return text.strip().lower()
    if not text.lstrip().startswith("{"):
        path = Path(text)
        if not path.is_file():
            dictionary = "a dict such as '{1: -13.6, 8: -432.1}'"
            raise ValueError(f"{text!r} is neither a file nor {dictionary} nor {', '.join(WAYS)}")
        if formats.is_text(path.name):
            e0s: E0S = {}
            for frame in extxyz.read(path):
                energy = extxyz.labels(frame, None)["energy"]
                if frame.natoms == 1 and energy is not None:
                    note_atom(frame.symbols[0], energy, frame.where, e0s)
            return e0s
        content = path.read_bytes()
        if b"\0" in content:
            raise ValueError(f"{text}: neither extended XYZ nor a dict")
        text = content.decode(errors="replace")
    return _parse_dict(text)


def _parse_dict(text: str) -> E0S:
    import ast

    try:
        data = ast.literal_eval(text.strip())
        pairs = {_symbol(k): float(v) for k, v in data.items()}
        if not all(map(math.isfinite, pairs.values())):
            raise ValueError
    except (ValueError, SyntaxError, AttributeError, TypeError):
        problem = f"{text.strip()[:60]!r} is not a dict of atomic numbers (or symbols) and energies in eV"
        raise ValueError(problem) from None
    return pairs


def _symbol(key: object) -> str:
    if isinstance(key, int) and 1 <= key <= len(SYMBOLS):
        return SYMBOLS[key - 1]
    if isinstance(key, str) and key in SYMBOLS:
        return key
    raise ValueError(f"{key!r} is not an element")
