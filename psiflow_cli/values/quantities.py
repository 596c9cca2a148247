"""Numbers as people type them: `1e4`, `0.5 fs`, `300K`, `2 GPa`, `10%`; a table of units for each quantity."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence

from psiflow_cli import duration

# Those of ase.units (CODATA 2014), which all that psiflow computes is in.
_HARTREE = 27.211386024367243  # eV
_BOHR = 0.5291772105638411  # Å
_KJ_PER_MOL = 0.010364269574711574  # eV
_BAR = 6.241509125883258e-07  # eV/Å³

_TIME = {"as": 1e-3, "fs": 1.0, "ps": 1e3, "ns": 1e6, "us": 1e9, "µs": 1e9}
_LENGTH = {"Å": 1.0, "A": 1.0, "Ang": 1.0, "angstrom": 1.0, "pm": 0.01, "nm": 10.0, "bohr": _BOHR, "a0": _BOHR}
_ENERGY = {
    "eV": 1.0, "meV": 1e-3, "keV": 1e3, "Ha": _HARTREE, "hartree": _HARTREE, "Eh": _HARTREE, "Ry": _HARTREE / 2,
    "rydberg": _HARTREE / 2, "kJ/mol": _KJ_PER_MOL, "kcal/mol": 4.184 * _KJ_PER_MOL,
}  # fmt: skip
_PRESSURE = {
    "bar": 1.0, "mbar": 1e-3, "kbar": 1e3, "Mbar": 1e6, "Pa": 1e-5, "hPa": 1e-3, "kPa": 1e-2, "MPa": 10.0, "GPa": 1e4,
    "TPa": 1e7, "atm": 1.01325, "torr": 1.01325 / 760, "mmHg": 1.01325 / 760, "eV/Å^3": 1 / _BAR, "eV/A^3": 1 / _BAR,
}  # fmt: skip
_RATE = {
    "1/ps": 1.0, "/ps": 1.0, "ps^-1": 1.0, "ps-1": 1.0, "THz": 1.0,
    "1/fs": 1e3, "/fs": 1e3, "fs^-1": 1e3, "fs-1": 1e3,
}  # fmt: skip
_MEMORY = {"kB": 1 / 1024, "MB": 1.0, "GB": 1024.0, "TB": 1024.0**2}

TABLES: dict[str, Mapping[str, float]] = {
    "Å": _LENGTH,
    "fs": _TIME,
    "ps": {"as": 1e-6, "fs": 1e-3, "ps": 1.0, "ns": 1e3, "us": 1e6, "µs": 1e6},
    "K": {"K": 1.0, "mK": 1e-3, "kelvin": 1.0},
    "bar": _PRESSURE,
    "eV": _ENERGY,
    "eV/Å": {f"{up}/{down}": of / by for up, of in _ENERGY.items() for down, by in _LENGTH.items()},
    "1/ps": _RATE,
    "meV/Å": {f"{up}/{down}": 1e3 * of / by for up, of in _ENERGY.items() for down, by in _LENGTH.items()},
    "cm^-1": {"cm^-1": 1.0, "cm-1": 1.0, "1/cm": 1.0, "/cm": 1.0, "THz": 33.3564095198152},
    "SHARE": {"%": 0.01},
    "meV/atom": {f"{unit}{per}": 1e3 * of for unit, of in _ENERGY.items() for per in ("", "/atom")},
    "MPa": {unit: of / 10 for unit, of in _PRESSURE.items()},
    # SLURM's and people's: MB of 1024² bytes, whatever stands behind the letter
    "MB": {f"{unit[0]}{end}": of for unit, of in _MEMORY.items() for end in ("", "B", "i", "iB")},
}
"""The units of each quantity, by the one that psiflow counts in; the value is how many of that one it has."""
_SHOWN = {"eV/Å": "eV/Å, meV/Å, Ha/bohr, Ry/bohr, kcal/mol/Å, eV/nm", "MB": "kB, MB, GB, TB"}
_ALIKE = {ord(" "): None, ord("\N{ANGSTROM SIGN}"): "Å", ord("\N{GREEK SMALL LETTER MU}"): "\N{MICRO SIGN}"}
"""Characters that look like another one."""
UNITS = frozenset(unit for table in TABLES.values() for unit in table) | {"%"}
_TYPED = re.compile(r"(?:--?[A-Za-z][\w-]*=)?[+-]?\.?\d[\d.eE+:,_-]*")
_AFTER = {unit.casefold() for unit in (*UNITS, *duration.UNITS)}
_NUMBER = r"[+-]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"


class UnknownUnitError(ValueError):
    """A number has a unit that its quantity does not have."""


def units(kind: str) -> str:
    """The units of a quantity as a message names them."""
    return _SHOWN.get(kind) or ", ".join(TABLES[kind])


def number(text: object, kind: str | None, without_unit: str = "") -> float:
    """A number in the unit `kind`, which may stand behind it, or another one of its table. Raises ValueError.

    `without_unit` says what a number without a unit is, if not one in `kind`.
    """
    words = str(text).strip().replace("\N{MINUS SIGN}", "-")
    try:
        return float(words)
    except ValueError:
        match = re.match(_NUMBER, words)
    unit = words[match.end() :].strip() if match else ""
    if match is None or not unit:
        raise ValueError(f"{words!r} is not a number" + (f" in {kind}" if kind else ""))
    if re.match(r",\d", unit):
        raise ValueError(f"{words!r} is not a number: decimals are behind a point, as in {words.replace(',', '.', 1)}")
    if kind is None:
        raise ValueError(f"{words!r} is not a number: it has no unit")
    scale = _scale(unit, TABLES[kind], ignore_case=kind == "MB")
    if scale is None:
        bare = without_unit or f"in {kind}"
        raise UnknownUnitError(
            f"{words!r}: unknown unit {unit!r}; a number without a unit is {bare}; known: {units(kind)}"
        )
    if scale == 1:
        return float(match[0])
    from decimal import Decimal

    # 0.3 ps are 300 fs, not 299.99999999999994
    return float(Decimal(match[0]) * Decimal(repr(scale)))


def _scale(unit: str, table: Mapping[str, float], ignore_case: bool) -> float | None:
    """What a unit is worth; capitals do not matter but in `m` and `M`, which are a factor of 10⁹."""
    plain = unit.translate(_ALIKE).replace("**", "^").replace("⁻¹", "^-1").replace("³", "^3")
    if plain in table:
        return table[plain]
    alike = {of for known, of in table.items() if known.casefold() == plain.casefold()
             and (ignore_case or (known[0] == plain[0] or plain[0] not in "mM"))}  # fmt: skip
    return alike.pop() if len(alike) == 1 else None


def whole(text: object) -> int:
    """`100`, `1e4`, `1_000`, `100.0`. Raises ValueError for what is not a whole number."""
    words = str(text).strip().replace("\N{MINUS SIGN}", "-")
    try:
        return int(words)
    except ValueError:
        pass
    try:
        value = float(words)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value != int(value):
        raise ValueError(f"{words!r} is not a whole number, such as 10000 or 1e4")
    return int(value)


def share(text: object) -> float:
    """`0.1` or `10%`. Raises ValueError."""
    return number(text, "SHARE")


def steps(text: object, timestep: float | None) -> int:
    """`1000`, or a time such as `0.5 ps` in steps of `timestep` fs (None: not known yet, so one step).

    Raises ValueError if that is not a whole number of steps.
    """
    words = str(text).strip()
    match = re.match(_NUMBER, words)
    if match is None or not words[match.end() :].strip():
        return whole(text)
    time = number(text, "fs", "a number of steps")
    if time <= 0:
        raise ValueError(f"{words!r} is not a time above 0")
    timestep = timestep or time
    count = round(time / timestep)
    if not math.isclose(count * timestep, time, rel_tol=1e-9):
        fewer = math.floor(time / timestep)
        near = " or ".join(f"{n * timestep:g} fs" for n in (fewer, fewer + 1) if n)
        raise ValueError(f"{words!r} is not a whole number of steps of {timestep:g} fs; use {near}")
    return count


def with_units(args: Sequence[str]) -> list[str]:
    """The arguments, a unit behind a space put to its number: `--pressure 2 GPa`; a file of that name stays a file."""
    words: list[str] = []
    for arg in args:
        option, value = ["", "", *words][-2:]
        is_value = _TYPED.fullmatch(value) and ("=" in value or re.match("--?[A-Za-z]", option))
        if is_value and arg.casefold() in _AFTER and not os.path.exists(arg):
            words[-1] += f" {arg}"
        else:
            words.append(arg)
    return words
