"""Numbers as people type them: units against ase.units, and what is refused."""

from __future__ import annotations

import re

import pytest
from ase import units

from psiflow_cli.values import quantities

PER_ANGSTROM3 = units.eV / units.Angstrom**3


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("2 GPa", "bar", 2 * units.GPa / units.bar),
        ("2gpa", "bar", 20000),
        ("1 atm", "bar", 101325 * units.Pascal / units.bar),
        ("760 torr", "bar", 1.01325),
        ("5 MPa", "bar", 50),
        ("3 kbar", "bar", 3000),
        ("1 Mbar", "bar", 1e6),
        ("1 mbar", "bar", 1e-3),
        ("0.1 eV/Å^3", "bar", 0.1 * PER_ANGSTROM3 / units.bar),
        ("0.1 eV/A³", "bar", 0.1 / units.bar),
        ("0.3 ps", "fs", 300),
        ("0.5fs", "fs", 0.5),
        ("2 ns", "fs", 2e6),
        ("1 µs", "fs", 1e9),
        ("300K", "K", 300),
        ("300 kelvin", "K", 300),
        ("5 Å", "Å", 5),
        ("5\N{ANGSTROM SIGN}", "Å", 5),
        ("5 angstrom", "Å", 5),
        ("0.5 nm", "Å", 0.5 * units.nm),
        ("2 bohr", "Å", 2 * units.Bohr),
        ("50 meV/Å", "eV/Å", 0.05),
        ("1e-3 Ha/bohr", "eV/Å", 1e-3 * units.Hartree / units.Bohr),
        ("0.02 Ry/bohr", "eV/Å", 0.02 * units.Rydberg / units.Bohr),
        ("10 kcal/mol/Å", "eV/Å", 10 * units.kcal / units.mol),
        ("10 kJ/mol/nm", "eV/Å", 10 * units.kJ / units.mol / units.nm),
        ("2 THz", "1/ps", 2),
        ("0.01 fs^-1", "1/ps", 10),
        ("5 ps⁻¹", "1/ps", 5),
        ("1 THz", "cm^-1", 1e12 / (units._c * 100)),
        ("10%", "SHARE", 0.1),
        ("4 gb", "MB", 4096),
        ("1.5 GiB", "MB", 1536),
        ("\N{MINUS SIGN}5", "bar", -5),
        ("1e4", None, 10000),
    ],
)
def test_a_unit_may_stand_behind_a_number(text: str, kind: str | None, value: float) -> None:
    assert quantities.number(text, kind) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(("text", "kind", "value"), [("2 GPa", "bar", 20000.0), ("0.3 ps", "fs", 300.0)])
def test_decimal_factors_are_exact(text: str, kind: str, value: float) -> None:
    assert quantities.number(text, kind) == value


@pytest.mark.parametrize(
    ("text", "kind", "problem"),
    [
        ("2 GPa", "K", "unknown unit 'GPa'; a number without a unit is in K; known: K"),
        ("1 MeV", "eV", "known: eV, meV"),
        ("2 mPa", "bar", "MPa"),
        ("25 °C", "K", "unknown unit"),
        ("fast", "fs", "'fast' is not a number in fs"),
        ("5 Å", None, "has no unit"),
        ("", "fs", "not a number"),
        ("5,0", "fs", "decimals are behind a point, as in 5.0"),
    ],
)
def test_another_unit_is_refused_with_those_that_are_known(text: str, kind: str | None, problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        quantities.number(text, kind)


@pytest.mark.parametrize(
    ("text", "timestep", "count"),
    [
        ("1000", 0.5, 1000), ("1e4", 0.5, 10000), ("100.0", 0.5, 100), ("1_000", 0.5, 1000), (1e4, 0.5, 10000),
        ("1 ps", 0.5, 2000), ("0.3ps", 0.1, 3000), ("5 fs", 0.5, 10), ("1 ns", 2.0, 500_000),
    ],
)  # fmt: skip
def test_steps_are_a_number_or_a_time(text: object, timestep: float, count: int) -> None:
    assert quantities.steps(text, timestep) == count


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("1.5", "not a whole number"), (1.5, "not a whole number"), ("inf", "not a whole number"),
        ("1 ps", "use 999.9 fs or 1000.2 fs"), ("0.1 fs", "use 0.3 fs"), ("0 fs", "above 0"), ("2 GPa", "as, fs"),
    ],
)  # fmt: skip
def test_a_part_of_a_step_is_refused(text: object, problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        quantities.steps(text, 0.3)
