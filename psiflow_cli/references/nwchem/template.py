"""NWChem's input: what of a user's template counts, and the input of one frame."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from psiflow_cli.errors import BadData
from psiflow_cli.worker.structures.units import BOHR

if TYPE_CHECKING:
    from psiflow_cli.messages import Frame

NUMBERS = "ecce.out"
_THEORIES = ("dft", "sodft", "scf", "mp2", "direct_mp2", "rimp2", "ccsd", "ccsd(t)", "tce")
_LINES = "title echo memory print noprint charge set unset start restart scratch_dir permanent_dir ecce_print task"
"""Directives of one line; every other one opens a block that `end` closes."""
_OURS = ("start", "restart", "title", "scratch_dir", "permanent_dir", "ecce_print")
_NESTED = ("zmatrix", "zmat", "zcoord", "system")
"""Blocks inside of a geometry, with an `end` of their own."""

_PARTING = re.compile(r';(?=(?:[^"]*"[^"]*")*[^"]*$)')  # a semicolon outside of quotes


class Settings(TypedDict):
    """A template without what psiflow controls, the theory of its task, and its charge."""

    template: str
    theory: str
    charge: int


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
        if first == "charge" and not block:
            charge = _charge(source, statement)
        elif first == "task" and not block:
            tasks.append(statement)
        elif geometry or (first in _OURS and not block):
            dropped += [first] if not block and first not in dropped else []
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
    return {"template": "\n".join(lines) + "\n", "theory": theory, "charge": charge}, dropped


def _charge(source: str, statement: _Statement) -> int:
    try:
        return int(float(statement.words[1]))
    except (IndexError, ValueError):
        raise BadData(f"{source}:{statement.line}: charge needs a number", "as in: charge -1") from None


def _theory(source: str, tasks: list[_Statement]) -> tuple[str, str]:
    """The theory and the operation of the one task."""
    if not tasks:
        raise BadData(f"{source}:1: there is no task", "add a line: task dft gradient")
    if len(tasks) > 1:
        raise BadData(f"{source}:{tasks[1].line}: a second task", f"a template has one, as on line {tasks[0].line}")
    theory, operation = [*tasks[0].words[1:3], "", ""][:2]
    if theory not in _THEORIES:
        raise BadData(f"{source}:{tasks[0].line}: no forces from task {theory}", f"known: {', '.join(_THEORIES)}")
    return theory, operation


def check_basis(text: str, elements: set[str]) -> None:
    """Raise BadData for an element without a basis, where every line of the basis names its element."""
    tags: set[str] = set()
    inside = False
    for line in text.lower().splitlines():
        word = line.split()[0]
        if inside and not word[0].isdigit() and word[0] not in "-.":
            tags.add(word.strip('"'))
        inside = (inside or word == "basis") and line.split()[-1] != "end"
    named = {tag.rstrip("0123456789").capitalize() for tag in tags - {"end"}}
    if not named or any(not tag.isalpha() or len(tag) > 2 for tag in named):
        return  # *, or names in full
    for element in sorted(elements - named):
        raise BadData(f"the basis of the NWChem input has no {element}", f"add a line to it: {element} library …")


def render(frame: Frame, settings: Settings) -> str:
    atoms = [
        f"  {symbol} " + " ".join(repr(x / BOHR) for x in row)
        for symbol, row in zip(frame["symbols"], frame["positions"], strict=True)
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
