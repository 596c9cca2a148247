"""A template's own atoms: their labels and molecules, what refers to them, and which atom of a frame is which.

A frame has elements only. What a template says of single atoms is therefore carried by their order, or refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from psiflow_cli.elements import SYMBOLS
from psiflow_cli.errors import BadData, counted
from psiflow_cli.references.cp2k import preprocess
from psiflow_cli.references.cp2k.preprocess import Line
from psiflow_cli.references.cp2k.structure.kinds import Kinds
from psiflow_cli.references.cp2k.template import Keyword, Section, Settings

_NO_ATOMS = ("SCALED", "UNIT")
_BY_INDEX = (
    "ATOMS", "ATOMS_LIST", "ATOM_LIST", "AT_LIST", "ATOM_IDS", "LIST", "LIST_OF_ATOMS", "BLOCK_LIST", "ALIST", "BLIST",
    "SUBSPACE_ATOM", "INDEX_PERTURBED_ATOM", "ATOM_COORDINATION_NUMBERS", "SELECTED_STATES_ON_ATOM_LIST",
    "ISSC_ON_ATOM_LIST", "MOLECULE_LIST", "KIND_COORDINATION_NUMBERS", "D3_EXCLUDE_KIND", "D3_EXCLUDE_KIND_PAIR",
    "ATOMIC_RADII", "RMIN_KIND", "RMAX_KIND",
)  # fmt: skip
"""Keywords that number atoms, or kinds in the order of the atoms (input_cp2k_*.F)."""
_BY_MOLECULE = ("KG_METHOD", "ALMO_SCF")
_COORDINATES = (
    "COORD_FILE_NAME", "COORD_FILE", "COORD_FILE_FORMAT", "COORDINATE", "NUMBER_OF_ATOMS", "NATOMS", "NATOM",
    "MULTIPLE_UNIT_CELL", "CENTER_COORDINATES", "DUMP_PDB", "DUMP_PSF", "MEMORY_PROGRESSION_FACTOR",
    "USE_G96_VELOCITY",
)  # fmt: skip
"""What of &TOPOLOGY is about coordinates alone."""


@dataclass(frozen=True)
class Atom:
    """An atom of the template: its label in capitals, and the words behind its coordinates."""

    label: str
    molecule: str
    line: Line


def read(force_eval: Section, folder: Path) -> list[Atom]:
    """The atoms of &COORD, or of the file that &TOPOLOGY names if they matter. Raises BadData if they cannot be had.

    Refuses what makes other atoms than a frame's of them: copies of the cell, ghosts, another order.
    """
    subsys = force_eval.find("SUBSYS") or Section("SUBSYS", "", force_eval.line)
    topology = subsys.find("TOPOLOGY") or Section("TOPOLOGY", "", subsys.line)
    _check_copies(subsys)
    coord = subsys.find("COORD")
    kinds = Kinds(force_eval)
    if coord:
        rows = [i for i in coord.items if isinstance(i, Keyword) and i.name not in _NO_ATOMS]
        atoms = [Atom(i.name, " ".join(i.value.split()[3:5]), i.line) for i in rows]
    elif topology.word("COORD_FILE_FORMAT", "COORDINATE") in ("", "OFF"):
        atoms = []
    else:
        atoms = _of_file(topology, folder) if kinds.several() or kinds.ghosts or by_molecule(force_eval) else []
    for atom in atoms if not kinds.by_element else ():
        ghost = kinds.ghost(atom.label)
        if ghost:
            raise atom.line.error(
                f"{kinds.name(atom.label)} is not an atom (its &KIND has {ghost}), so a frame cannot give its position",
                "remove it from the template; compute a counterpoise correction separately",
            )
    return atoms


def _check_copies(subsys: Section) -> None:
    for path in ("CELL", "TOPOLOGY"):
        section = subsys.find(path)
        for item in section.items if section else []:
            if item.name == "MULTIPLE_UNIT_CELL" and isinstance(item, Keyword) and item.value.split() != ["1"] * 3:
                raise item.line.error(
                    f"MULTIPLE_UNIT_CELL {item.value} in &{path}: a frame is labelled with exactly its own atoms",
                    "repeat the frames themselves and remove it, or sample the cell with &KPOINTS",
                )


def _of_file(topology: Section, folder: Path) -> list[Atom]:
    """The atoms of a coordinate file, in the formats that have labels in a column of their own."""
    form = topology.word("COORD_FILE_FORMAT", "COORDINATE")
    name = preprocess.unquoted(topology.get("COORD_FILE_NAME", "COORD_FILE") or "")
    place = next((i.line for i in topology.items if i.name in ("COORD_FILE_NAME", "COORD_FILE")), topology.line)
    problem = f"the kinds of the atoms are in {name}, which is {form}"
    if form in ("XYZ", "CP2K"):
        try:
            text = (folder / name).read_text(encoding="latin-1")
            return [_of_row(row, str(folder / name), number, form) for number, row in _rows(text.splitlines(), form)]
        except OSError as error:
            problem = f"{name}: {error.strerror}"
        except (ValueError, IndexError):
            problem = f"{name} is not in the format {form}"
    raise place.error(problem, "put the atoms with the names of their &KINDs into &COORD")


def _rows(lines: list[str], form: str) -> list[tuple[int, str]]:
    numbered = list(enumerate(lines, 1))
    return [x for x in numbered if x[1].strip()] if form == "CP2K" else numbered[2 : 2 + int(lines[0].split()[0])]


def _of_row(row: str, source: str, number: int, form: str) -> Atom:
    label, *others = row.split()
    named = SYMBOLS[int(label) - 1] if label.isdigit() else label
    return Atom(named.upper(), " ".join(others[3:5]) if form == "CP2K" else "", Line(source, number, row))


def by_molecule(force_eval: Section) -> bool:
    """Whether a label depends on which atoms are a molecule: Kim-Gordon, ALMO, and what is MOLECULAR by its name."""
    dft = force_eval.find("DFT")
    return any(
        section.name in _BY_MOLECULE
        or any(
            item.name in _BY_MOLECULE or "MOLECULE" in item.name or item.word.upper().startswith("MOLECULAR")
            for item in section.items
            if isinstance(item, Keyword)
        )
        for section in (dft.walk() if dft else ())
    )


def by_index(force_eval: Section) -> Keyword | None:
    """A keyword that names atoms by their numbers, as restraints and external potentials do."""
    for section in force_eval.walk():
        for item in section.items if section.name not in ("COORD", "KIND", "LOCALIZE", "TOPOLOGY", "CELL") else ():
            if isinstance(item, Keyword) and item.name in _BY_INDEX:
                return item
    return None


def topology(force_eval: Section) -> Section | None:
    """What stays of &TOPOLOGY: how kinds are named and, where a label depends on molecules, how they are found."""
    there = force_eval.find("SUBSYS/TOPOLOGY")
    if there is None:
        return None
    names = [i.name for i in there.items if i.name == "USE_ELEMENT_AS_KIND"]
    if by_molecule(force_eval):
        names = [i.name for i in there.items if i.name not in _COORDINATES]
        generate = there.find("GENERATE")
        if generate and generate.flag("REORDER"):
            raise generate.line.error("REORDER in &GENERATE changes the order of the atoms")
    items = [i for i in there.items if i.name in names]
    return Section("TOPOLOGY", there.parameter, there.line, items) if items else None


def carried(force_eval: Section, atoms: list[Atom]) -> tuple[list[str], list[str]]:
    """The labels of the template's atoms, and their molecules, as far as a frame's label may depend on them."""
    kinds = Kinds(force_eval)
    molecules = [a.molecule for a in atoms] if by_molecule(force_eval) else []
    if not any(molecules):
        molecules = []
    needed = kinds.several() or molecules or by_index(force_eval)
    return [a.label for a in atoms] if needed else [], molecules


def decide_labels(force_eval: Section, labels: list[str]) -> bool:
    """Whether the labels give an atom another &KIND than its element alone would; if not, they only restrict frames."""
    kinds = Kinds(force_eval)
    of_elements, several = kinds.of_elements(), kinds.several()
    own = any(element not in {n.capitalize() for n in names} for element, names in several.items())
    return own or any(
        kinds.contents(label) != kinds.contents(of_elements.get(kinds.element(label), label))
        for label in labels
        if kinds.element(label) in several
    )


class Order:
    """Which atom of a frame has which kind."""

    def __init__(self, force_eval: Section, settings: Settings) -> None:
        self._kinds = kinds = Kinds(force_eval)
        self._labels = settings.get("labels", [])
        self._elements = [kinds.element(label) for label in self._labels]
        self._of_elements, self._several = kinds.of_elements(), kinds.several()
        used = kinds.used(self._labels)
        self._chosen = {element: kinds.name(next(iter(labels.values()))) for element, labels in used.items()}
        torn = next((element for element, labels in used.items() if len(labels) > 1), "")
        index = by_index(force_eval) if self._labels else None
        molecules = "names the molecules of its atoms" if settings.get("molecules") else ""
        self._counts = f"has several &KINDs of {torn}" if torn else molecules
        if not self._counts and index:
            self._counts = f"numbers its atoms ({index.name} {index.value})"

    def names(self, symbols: list[str]) -> list[str]:
        """What is written for each atom as its kind. Raises ValueError if the frame has other atoms."""
        if self._labels and self._elements == symbols:
            return [self._kinds.name(label) for label in self._labels]
        if self._counts:
            raise ValueError(f"the template {self._counts}, but {_difference(self._elements, symbols)}")
        for symbol in symbols:
            if symbol in self._several and symbol not in self._chosen:
                raise ValueError(f"the template has several &KINDs of {symbol}, but its own atoms include no {symbol}")
        return [self._chosen.get(symbol) or self._of_elements.get(symbol, symbol) for symbol in symbols]


def _difference(theirs: list[str], symbols: list[str]) -> str:
    if len(theirs) != len(symbols):
        return f"it has {counted(len(theirs), 'atom')}, the frame {len(symbols)}"
    at = next(i for i, (a, b) in enumerate(zip(theirs, symbols, strict=True)) if a != b)
    return f"its atom {at + 1} is {theirs[at]}, the frame's {symbols[at]}"


def check(settings: Settings, force_eval: Section, elements: set[str], where: str, place: str) -> list[str]:
    """Raise BadData for the first element whose &KIND is missing or not clear; returns notes.

    `where` is the template, `place` where its kinds stand.
    """
    kinds = Kinds(force_eval)
    own = kinds.of_elements()
    has = f"it has {', '.join(sorted(own))}" if own else "it has none"
    if own and not {*elements, "*"} & set(own):
        raise BadData(f"{place}: the data contain {', '.join(sorted(elements))}, which have no &KIND", has)
    for element in sorted(elements):
        if element not in own and "*" not in own and not kinds.without:
            raise BadData(f"{place}: no &KIND {element}, but the data contain {element}", f"add one to &SUBSYS; {has}")
    used = kinds.used(settings.get("labels", []))
    for element, several in kinds.several().items():
        if element in elements and element not in used:
            raise BadData(
                f"{place}: {' and '.join(f'&KIND {n}' for n in several)} are all for {element}, but differ",
                "keep one of them, or give the template a &COORD with the atoms in the frames' order",
            )
    notes = (
        [f"{where}: no frame uses its &KIND {', '.join(spare)}"]
        if (spare := sorted(set(own) - elements - {"*"}))
        else []
    )
    if kinds.ghosts and not kinds.by_element:
        notes.append(f"{where}: frames cannot have ghost atoms: &KIND {', '.join(kinds.ghosts)} is not used")
    return notes
