"""Formats that leave open what ASE then assumes: units, elements, cells. What is not certain is refused or left out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ase import Atoms

_IN_ANGSTROM = ("metal", "real")  # LAMMPS's units whose lengths are Å and whose masses are u
_COUNT = re.compile(r"^\s*\d+\s+atoms\b", re.MULTILINE)


def is_lammps_data(name: str) -> bool:
    """Whether a file begins as LAMMPS's data files do."""
    with open(name, "rb") as stream:
        return bool(_COUNT.search(stream.read(2000).decode(errors="replace")))


class Doubts:
    """What a file leaves open, and what is said of it."""

    def __init__(self, kind: str, path: str) -> None:
        self.kind, self.path = kind, path
        self.remarks: list[str] = []
        self._units = ""  # those of LAMMPS, if the file states them
        look = {
            "lammps-data": self._lammps_data, "lammps-dump-text": self._lammps_dump,
            "runnerdata": self._runner, "proteindatabank": self._pdb, "cif": self._cif,
        }  # fmt: skip
        self._names_of_elements = kind == "gromacs"  # elements are guessed from the names of atoms
        self._more_constraints: list[str] = []
        if kind in look:
            look[kind]()
        elif kind.startswith("cp2k-restart") and any("&FIXED_ATOMS" in line.upper() for line in self._lines()):
            self._more_constraints.append("FIXED_ATOMS")

    def settle(self, atoms: Atoms) -> list[str]:
        """Take out of a frame what is not certain; returns the names of it. Raises ValueError for a frame that is no
        use without."""
        if self._more_constraints:
            atoms.info["ase_constraints"] = " ".join(self._more_constraints)
        if self._names_of_elements:
            names, residues = (atoms.arrays[key].tolist() for key in ("atomtypes", "residuenames"))
            _check_guessed(list(atoms.symbols), names, residues)
        if self.kind == "proteindatabank" and atoms.cell.cellpar().tolist() == [1, 1, 1, 90, 90, 90]:
            atoms.cell, atoms.pbc = None, False  # what the format has for "no cell"
        if self.kind == "lammps-data" and "masses" in atoms.arrays:
            _check_masses(atoms)
        return self._lammps(atoms) if self.kind in ("lammps-data", "lammps-dump-text") else []

    def _lines(self) -> Iterator[str]:
        with open(self.path, errors="replace") as stream:
            yield from stream

    def _lammps_data(self) -> None:
        lines = self._lines()
        stated = re.search(r"units\s*=\s*(\w+)", next(lines, ""))
        self._units = stated[1] if stated else ""
        if not any(re.match(r"\s*(Masses|Atom Type Labels)\b", line) for line in lines):
            raise ValueError("it has no Masses section, so the elements of the types are not known")
        self.remarks.append("LAMMPS data files do not state the periodicity: read as periodic in three directions")
        self._check_units()

    def _lammps_dump(self) -> None:
        columns: list[str] = []
        for line in (lines := self._lines()):
            if line.startswith("ITEM: UNITS"):
                self._units = next(lines, "").strip()
            elif line.startswith("ITEM: ATOMS"):
                columns = line.split()[2:]
                break
        if "element" not in columns:
            raise ValueError("it has no element column; add one with dump_modify element")
        self._check_units()

    def _check_units(self) -> None:
        if self._units and self._units not in _IN_ANGSTROM:
            raise ValueError(f"its LAMMPS units are {self._units}; lengths must be in Å (metal or real)")
        if not self._units:
            self.remarks.append("the file does not state its units: lengths are read as Å (LAMMPS's metal or real)")

    def _lammps(self, atoms: Atoms) -> list[str]:
        """Forces and velocities are those of `metal` for ASE; and it makes up an energy of zero."""
        lost = []
        if atoms.calc is not None:
            if self._units == "metal":
                atoms.calc.results.pop("energy", None)
            else:
                atoms.calc = None
                lost.append("forces")
        if self._units != "metal" and "momenta" in atoms.arrays:
            del atoms.arrays["momenta"]
            lost.append("velocities")
        return lost

    def _runner(self) -> None:
        self.remarks.append("RuNNer files do not state their units: read as Bohr and Hartree, as ASE does")

    def _cif(self) -> None:
        from ase.io.cif import parse_cif

        for block in parse_cif(self.path):
            if {str(group) for group in block.get("_atom_site_disorder_group") or ()} - {".", "?", "0"}:
                raise ValueError(
                    "it has sites with disorder groups, all of which ASE would read; use an ordered structure"
                )

    def _pdb(self) -> None:
        atoms = (line for line in self._lines() if line.startswith(("ATOM", "HETATM")))
        self._names_of_elements = any(not line[76:78].strip() for line in atoms)


def _check_masses(atoms: Atoms) -> None:
    """ASE takes the element of the nearest mass, also for beads of several atoms; isotopes of hydrogen differ most."""
    from ase.data import atomic_masses

    for number, mass in zip(atoms.numbers.tolist(), atoms.get_masses().tolist(), strict=True):
        if abs(mass - atomic_masses[number]) > (2.1 if number == 1 else 0.3):
            raise ValueError(f"a mass of {mass:g} u belongs to no element")


def _check_guessed(symbols: Sequence[str], names: Sequence[str], residues: Sequence[str]) -> None:
    """Raise ValueError unless each symbol is what the name of the atom means: its first letter, or that of an ion.

    `CA` is a carbon in `ALA` and calcium in the residue `CA`; ASE takes either for the other, and `MW` for tungsten.
    """
    from psiflow_cli.elements import SYMBOLS

    for symbol, name, residue in zip(symbols, names, residues, strict=True):
        letters = re.sub(r"[^A-Za-z]", "", name).capitalize()
        is_ion = letters in SYMBOLS and re.sub(r"[^A-Za-z]", "", residue).capitalize() == letters
        if symbol != (letters if is_ion else letters[:1]):
            problem = f"it has no element column, and the atom {name} of {residue} may not be {symbol}"
            raise ValueError(f"{problem}; add the elements, or use another format")
