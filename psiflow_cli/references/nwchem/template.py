"""NWChem's input: what of a user's template counts, and the input of one frame."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from psiflow_cli import inputs
from psiflow_cli.errors import BadData
from psiflow_cli.worker.structures.units import BOHR

if TYPE_CHECKING:
    from typing_extensions import NotRequired

    from psiflow_cli.messages import Frame

NUMBERS = "ecce.out"
_THEORIES = ("dft", "sodft", "scf", "mp2", "direct_mp2", "rimp2", "ccsd", "ccsd(t)", "tce")
_LINES = "title echo memory print noprint charge set unset start restart scratch_dir permanent_dir ecce_print task"
"""Directives of one line; every other one opens a block that `end` closes."""
_OURS = ("start", "restart", "title", "scratch_dir", "permanent_dir", "ecce_print")
_NESTED = ("zmatrix", "zmat", "zcoord", "system")
"""Blocks inside of a geometry, with an `end` of their own."""

_STATES = ("singlet", "doublet", "triplet", "quartet", "quintet", "sextet", "septet", "octet")
_LETTERS = re.compile(r"[^a-z]")
_PARTING = re.compile(r';(?=(?:[^"]*"[^"]*")*[^"]*$)')  # a semicolon outside of quotes


class Settings(TypedDict):
    """A template without what psiflow controls, the theory of its task, and its charge."""

    template: str
    theory: str
    charge: int
    atoms: NotRequired[list[str]]  # tags of the template's own atoms, where an element has several in its basis


@dataclass(frozen=True)
class _Statement:
    line: int
    words: list[str]
    text: str


def _statements(text: str) -> list[_Statement]:
    """The input's statements, without comments; `;` parts them and a backslash joins lines."""
    statements = []
    whole, begun = "", 0
    for number, raw in enumerate(text.splitlines(), 1):
        begun = begun or number
        line = whole + raw.partition("#")[0].rstrip()
        if line.endswith("\\"):
            whole = line[:-1] + " "
            continue
        for part in _PARTING.split(line):
            if words := part.lower().split():
                statements.append(_Statement(begun, words, " ".join(part.split())))
        whole, begun = "", 0
    return statements


def read(source: str, text: str) -> tuple[Settings, list[str]]:
    """The settings, and what of the template is not used. Raises BadData with the line of a mistake."""
    lines: list[str] = []
    dropped: list[str] = []
    tasks: list[_Statement] = []
    atoms: list[str] = []
    charge = 0
    block: list[_Statement] = []  # the blocks that are open here
    for statement in _statements(text):
        first = statement.words[0]
        geometry = (block[0].words[0] if block else first).startswith("geom")
        if block:
            opens = geometry and first in _NESTED
        elif first in ("include", "python"):
            raise BadData(f"{source}:{statement.line}: {first} is not understood here", "write out what it stands for")
        else:
            opens = first not in _LINES.split()
        _refuse(f"{source}:{statement.line}", block[0].words[0] if block else "", statement)
        if first == "charge" and not block:
            charge = _charge(source, statement)
        elif first == "task" and not block:
            tasks.append(statement)
        elif geometry or (block[0].words[0] if block else first) == "constraints" or (first in _OURS and not block):
            dropped += [first] if not block and first not in dropped else []
            atoms += [first] if geometry and len(block) == 1 and _is_atom(statement.words) else []
        else:
            lines.append(statement.text)
        if opens:
            block.append(statement)
        if block and statement.words[-1] == "end":
            block.pop()
    if block:
        raise BadData(f"{source}:{block[0].line}: the block {block[0].words[0]} is never closed", "add a line: end")
    theory, asked = _theory(source, tasks)
    if asked != "gradient":
        dropped.append(f"task {theory} {asked}".rstrip())
    settings: Settings = {"template": "\n".join(lines) + "\n", "theory": theory, "charge": charge}
    known = tags(settings["template"])
    if atoms and inputs.several(known, []):
        # NWChem takes the element's basis for a tag without one of its own
        settings["atoms"] = [t if t in known else inputs.element(t) for t in map(str.capitalize, atoms)]
        dropped = [f"{name} but for its tags" if name.startswith("geom") else name for name in dropped]
    return settings, dropped


def _refuse(where: str, block: str, statement: _Statement) -> None:
    """Raise BadData for what belongs to the template's own atoms, or stands at places of its own."""
    first, *rest = statement.words
    if block.startswith("geom") and first.startswith("bq") and _is_atom(statement.words):
        raise BadData(f"{where}: {first} is a centre without an atom, which frames cannot have", "leave it out")
    if block.startswith("geom") and _is_atom(statement.words) and "charge" in rest:
        raise BadData(f"{where}: a separate charge for an atom of the template", "leave it out")
    if not block and first == "bq":
        raise BadData(f"{where}: point charges are placed relative to the template's own atoms", "remove the block bq")
    if block == "dft" and first == "cdft":
        raise BadData(f"{where}: cdft refers to atom numbers, which differ between frames", "leave it out")
    if block == "constraints" and first in ("spring", "penalty"):
        raise BadData(f"{where}: {first} adds an energy of the template's own atoms", "remove the block constraints")


def _is_atom(words: list[str]) -> bool:
    """Whether a line of a geometry is `TAG x y z …`."""
    try:
        return len(words) > 3 and all(abs(float(word.replace("d", "e"))) < float("inf") for word in words[1:4])
    except ValueError:
        return False


def _charge(source: str, statement: _Statement) -> int:
    try:
        charge = float(statement.words[1])
        if charge.is_integer():
            return int(charge)
    except (IndexError, ValueError):
        pass
    raise BadData(f"{source}:{statement.line}: charge needs a whole number", "as in: charge -1")


def _theory(source: str, tasks: list[_Statement]) -> tuple[str, str]:
    """The theory and the operation of the one task."""
    if not tasks:
        raise BadData(f"{source}:1: no task", "add a line: task dft gradient")
    if len(tasks) > 1:
        raise BadData(
            f"{source}:{tasks[1].line}: a second task", f"a template has only one, as on line {tasks[0].line}"
        )
    theory, operation = [*tasks[0].words[1:3], "", ""][:2]
    if theory not in _THEORIES:
        raise BadData(f"{source}:{tasks[0].line}: task {theory} gives no forces", f"known: {', '.join(_THEORIES)}")
    return theory, operation


def _named(text: str) -> set[str]:
    """What the lines of basis sets and effective core potentials begin with, in lower case."""
    first_words: set[str] = set()
    inside = False
    for line in text.lower().splitlines():
        word = line.split()[0]
        if inside and not word[0].isdigit() and word[0] not in "-.":
            first_words.add(word.strip('"'))
        inside = (inside or word in ("basis", "ecp")) and line.split()[-1] != "end"
    return first_words - {"end"}


def tags(text: str) -> list[str]:
    """The tags that have a basis, as in H and H1; names in full and those of ghosts are none."""
    named = _named(text)
    of_elements = {tag.capitalize() for tag in named if len(_LETTERS.split(tag)[0]) <= 2 and inputs.element(tag)}
    if "*" in named:
        of_elements |= {inputs.element(tag) for tag in of_elements}
    return sorted(of_elements)


def check_basis(settings: Settings, elements: set[str]) -> None:
    """Raise BadData for an element without a basis, where every line of the basis names its element.

    And for one with several, if the template has no atoms to say whose they are.
    """
    atoms = settings.get("atoms", [])
    for symbol, own in inputs.several(tags(settings["template"]), atoms).items():
        if symbol in elements and symbol not in map(inputs.element, atoms):
            raise BadData(f"the basis of the NWChem input has several {symbol}: {', '.join(own)}", inputs.GIVE_ATOMS)
    named = {tag.rstrip("0123456789").capitalize() for tag in _named(settings["template"])}
    if not named or any(not tag.isalpha() or len(tag) > 2 for tag in named):
        return  # *, or names in full
    for element in sorted(elements - named):
        raise BadData(f"the basis of the NWChem input has no {element}", f"add a line to it: {element} library …")


def multiplicity(settings: Settings) -> int | None:
    """The multiplicity that the template states for its theory."""
    dft = "dft" in settings["theory"]
    block = " ".join(re.findall(rf"(?ms)^{'dft' if dft else 'scf'}\b(.*?)\bend$", settings["template"].lower()))
    stated = re.findall(r"\bmult +(\d+)" if dft else rf"\bnopen +\d+|\b(?:{'|'.join(_STATES)})\b", block)
    if not stated:
        return None
    word = stated[-1].split()
    return int(word[-1]) + (len(word) - 1) if word[-1].isdigit() else _STATES.index(word[0]) + 1


def of_atoms(symbols: list[str], settings: Settings) -> list[str]:
    """The tag of each atom. Raises ValueError if the template's own atoms should say, and are others."""
    return inputs.labelled(symbols, tags(settings["template"]), settings.get("atoms", []), "geometry")


def render(frame: Frame, settings: Settings) -> str:
    """The input of one frame. Raises ValueError if its atoms are not those of the template."""
    labels = of_atoms(frame["symbols"], settings)
    atoms = [
        f"  {label} " + " ".join(repr(x / BOHR) for x in row)
        for label, row in zip(labels, frame["positions"], strict=True)
    ]
    charge, theory = frame.get("charge"), settings["theory"]
    state = []
    if frame.get("multiplicity") is not None:
        m = frame["multiplicity"]
        state = ["dft", f"  mult {m}", "end"] if "dft" in theory else ["scf", f"  nopen {m - 1}", "end"]
    return "\n".join(
        [
            "start psiflow", "geometry units au noautosym noautoz nocenter", *atoms, "end",
            f"charge {settings['charge'] if charge is None else charge}", settings["template"].rstrip(), *state,
            f"ecce_print {NUMBERS}", f"task {theory} gradient", "",
        ]
    )  # fmt: skip
