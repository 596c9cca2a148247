"""What CP2K's own log says, read without psiflow: in the layout of 2023.1 and in that of 2025.1."""

from __future__ import annotations

import re

_GPA = {"GPa": 1.0, "bar": 1e-4}


def energy(log: str) -> float:
    """The energy, in Ha."""
    (text,) = re.findall(r"^ ENERGY\| Total FORCE_EVAL.* (\S+)$", log, re.M)
    return float(text)


def forces(log: str) -> list[list[float]]:
    """The force on each atom, in Ha/bohr."""
    number = r" +(-?\d+\.\d+(?:E[-+]\d+)?)"
    rows = re.findall(rf"^ +(?:FORCES\| +\d+|\d+ +\d+ +[A-Z]\w*){number * 3}(?: +\S+)?$", log, re.M)
    return [[float(x) for x in row] for row in rows]


def stress(log: str) -> list[list[float]]:
    """The stress tensor, positive under pressure, in GPa."""
    unit, table = re.findall(
        r"^ STRESS\| Analytical stress tensor \[(\w+)\]\n.*\n((?: STRESS\| +[xyz].*\n){3})", log, re.M
    )[0]
    return [[float(x) * _GPA[unit] for x in line.split()[2:]] for line in table.splitlines()]
