"""How large energies are in Hartree: with all electrons, and with pseudopotentials."""

from __future__ import annotations

from psiflow_cli.elements import SYMBOLS

VALENCE = {
    "H": 0.500, "C": 5.438, "N": 9.809, "O": 15.916, "F": 24.211, "Si": 3.789, "P": 6.500, "S": 10.158, "Cl": 15.026,
}  # fmt: skip
"""Ha that take off all valence electrons of an atom: sums of ionisation energies (NIST Atomic Spectra Database)."""


def all_electrons(symbol: str) -> float:
    """Minus the energy of an atom with all its electrons, in Ha: the Thomas-Fermi-Dirac-Scott formula.

    Schwinger, Phys. Rev. A 24, 2353 (1981); a few per cent off.
    """
    z = SYMBOLS.index(symbol) + 1
    return 0.5 if z == 1 else 0.768745 * z ** (7 / 3) - 0.5 * z**2 + 0.269900 * z ** (5 / 3)


def valence(symbols: list[str]) -> float | None:
    """Minus the energy of atoms with the usual pseudopotentials, in Ha; None of other elements than in `VALENCE`.

    Others may have semicore electrons, or none: it depends on the pseudopotential.
    """
    energies = [VALENCE.get(symbol) for symbol in symbols]
    return None if None in energies else sum(filter(None, energies))
