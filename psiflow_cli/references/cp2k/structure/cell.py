"""What a template's own &CELL and &CENTER_COORDINATES say; of a periodic frame they say nothing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from psiflow_cli.references.cp2k.template import Keyword, Section

if TYPE_CHECKING:
    from psiflow_cli.messages import Vectors

_BOHR = 0.52917720859
"""Å: CP2K's own (CODATA 2006)."""
_UNITS = {"ANGSTROM": 1.0, "BOHR": _BOHR, "AU_L": _BOHR, "INTERNAL_CP2K": _BOHR, "NM": 10.0, "PM": 0.01, "M": 1e10}


def periodic(force_eval: Section) -> str:
    """The directions in which &CELL is periodic, by CP2K's default XYZ; empty without a &CELL."""
    cell = force_eval.find("SUBSYS/CELL")
    return (cell.word("PERIODIC") or "XYZ") if cell else ""


def vectors(force_eval: Section) -> Vectors | None:
    """The cell vectors in Å of &CELL, as CP2K sets them up; None without any. Raises BadData."""
    cell = force_eval.find("SUBSYS/CELL")
    if cell is None:
        return None
    by_name = {i.name: i for i in cell.items if isinstance(i, Keyword)}
    if "CELL_FILE_NAME" in by_name:
        raise by_name["CELL_FILE_NAME"].line.error("the cell is in a separate file", "write it as ABC or as A, B and C")
    if "ABC" in by_name:
        angles = by_name.get("ALPHA_BETA_GAMMA") or by_name.get("ANGLES")
        return _from_angles(_lengths(by_name["ABC"]), _numbers(angles) if angles else [90.0] * 3)
    if all(name in by_name for name in "ABC"):
        return [_lengths(by_name[name]) for name in "ABC"]
    return None


def centre(force_eval: Section) -> list[float] | None:
    """The point in Å to which &CENTER_COORDINATES moves the atoms, [] for the middle of the cell; None without it."""
    section = force_eval.find("SUBSYS/TOPOLOGY/CENTER_COORDINATES")
    if section is None or section.parameter.strip(".").upper() in ("F", "FALSE", "N", "NO", "OFF", "0"):
        return None
    point = next((i for i in section.items if isinstance(i, Keyword) and i.name == "CENTER_POINT"), None)
    return _lengths(point, "BOHR") if point else []


def _lengths(item: Keyword, unit: str = "ANGSTROM") -> list[float]:
    """Three lengths in Å. Raises BadData."""
    words = item.value.replace("]", "] ").split()
    if words and words[0].startswith("["):
        unit = words[0].strip("[]").upper()
        if unit not in _UNITS:
            raise item.line.error(f"{item.name} in {words[0]}", f"write it in {', '.join(u.lower() for u in _UNITS)}")
    return [x * _UNITS[unit] for x in _numbers(item)]


def _numbers(item: Keyword) -> list[float]:
    """Three numbers, as in `5 5 5`, `3*5.0` or `5, 5, 5`. Raises BadData."""
    numbers: list[float] = []
    try:
        for word in item.value.split("]")[-1].replace(",", " ").split():
            count, _, value = word.rpartition("*")
            numbers += [float(value.upper().replace("D", "E"))] * int(count or 1)
    except ValueError:
        numbers = []
    if len(numbers) != 3:
        raise item.line.error(f"{item.name} {item.value} is not three numbers")
    return numbers


def _from_angles(lengths: list[float], angles: list[float]) -> Vectors:
    """A along x, B in the plane of x and y, as CP2K has it."""
    a, b, c = lengths
    cosines = [0.0 if angle == 90.0 else math.cos(math.radians(angle)) for angle in angles]
    alpha, beta, gamma = cosines
    sine = math.sqrt(1 - gamma**2)
    y = (alpha - beta * gamma) / sine
    return [[a, 0.0, 0.0], [b * gamma, b * sine, 0.0], [c * beta, c * y, c * math.sqrt(max(0.0, 1 - beta**2 - y**2))]]
