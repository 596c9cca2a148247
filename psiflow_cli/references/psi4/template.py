"""Psi4's input: what of a user's template counts, and the input of one frame.

Templates are Psithon: options and at most one call that names the method. Psi4 runs Python, so nothing else is let in.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypedDict

from psiflow_cli import inputs
from psiflow_cli.errors import BadData
from psiflow_cli.worker.structures.units import BOHR

if TYPE_CHECKING:
    from typing_extensions import NotRequired

    from psiflow_cli.messages import Frame

NUMBERS = "psiflow.json"
_WORDS = ("units", "symmetry", "no_com", "nocom", "no_reorient", "noreorient", "x")
_LABEL = re.compile(r"[A-Za-z]{1,2}(?:_\w+|\d\w*)?(?:@[\d.]+)?")
_CALL = re.compile(
    r"^(?:[\w, ]+=\s*)?(?:psi4\.)?(energy|gradient|optimize|opt|frequency|frequencies|freq|hessian)"
    r"\(\s*['\"]([^'\"]+)['\"]\s*(,.*)?\)$"
)
_BLOCKS = ("set", "basis", "molecule", "pcm")  # words that may open a block in braces
_PLAIN = ("set", "memory")


class Settings(TypedDict):
    """A template without its molecule, and the method of its one calculation.

    Of the molecule remain charge and multiplicity, if they are not 0 and 1, and the labels of its atoms, if an element
    has several in the basis.
    """

    template: str
    method: str
    charge: NotRequired[int]
    multiplicity: NotRequired[int]
    atoms: NotRequired[list[str]]


@dataclass
class _Molecule:
    """What a block `molecule` says besides places."""

    state: tuple[int, int] = (0, 1)
    atoms: list[str] = field(default_factory=list)
    fragments: bool = False

    def read(self, where: str, line: str) -> None:
        """Raises BadData for what no frame has."""
        words = line.split()
        if re.fullmatch(r"-?\d+\s+\d+", line):
            if self.atoms and (int(words[0]), int(words[1])) != self.state:
                hint = "give those of the entire molecule, before its first atom"
                raise BadData(f"{where}: charge and multiplicity of a fragment", hint)
            self.state = (int(words[0]), int(words[1]))
        elif words[0].startswith("@") or words[0].lower().startswith("gh("):
            raise BadData(f"{where}: {words[0]} is a basis without an atom, which frames cannot have", "leave it out")
        elif words[0].lower() == "efp":
            raise BadData(f"{where}: efp is a fragment, which frames cannot have", "leave it out")
        elif words[0].lower() not in _WORDS and "=" not in line and _LABEL.fullmatch(words[0]):
            self.atoms.append(words[0].partition("@")[0].capitalize())


def read(source: str, text: str) -> tuple[Settings, list[str]]:
    """The settings, and what of the template is not used. Raises BadData with the line of a mistake."""
    lines: list[str] = []
    dropped: list[str] = []
    method = ""
    molecule = _Molecule()
    block, opened, depth = "", 0, 0
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.partition("#")[0].strip()
        if not line:
            continue
        word = line.split()[0].split("{")[0].lower()
        if not depth:
            call = _CALL.match(line)
            if call:
                if method:
                    raise BadData(f"{source}:{number}: a second calculation", "a template has only one")
                if call[3] and call[3].strip(", "):
                    raise BadData(f"{source}:{number}: {call[1]}() takes only its method", "use set for the rest")
                method = call[2]
                dropped += [f"{call[1]}()"] if call[1] != "gradient" else []
                continue
            if word not in (*_BLOCKS, *_PLAIN):
                hint = "allowed are set, memory, basis, pcm, and one call such as gradient('pbe')"
                raise BadData(f"{source}:{number}: {line.split()[0]} is not understood here", hint)
            block, opened = word, number
            if block == "molecule":
                molecule = _Molecule()
        depth += line.count("{") - line.count("}")
        if depth < 0:
            raise BadData(f"{source}:{number}: a closing brace without an opening one")
        if block == "molecule":
            dropped += ["molecule"] if "molecule" not in dropped else []
            row = line.partition("{")[2] if "{" in line else line
            if row := row.replace("}", " ").strip():
                molecule.read(f"{source}:{number}", row)
        else:
            if occupied := re.search(r"(?i)\b(docc|socc|cfour_occ)\b", line):
                hint = "charge and multiplicity determine the number of electrons"
                raise BadData(f"{source}:{number}: {occupied[1]} applies to the template's own molecule", hint)
            lines.append(line)
    if depth:
        raise BadData(f"{source}:{opened}: the block {block} is never closed", "add a line: }")
    if not method:
        raise BadData(f"{source}:1: no calculation", "add a line such as gradient('pbe')")
    settings: Settings = {"template": "\n".join(lines) + "\n", "method": method}
    if molecule.state != (0, 1):
        settings["charge"], settings["multiplicity"] = molecule.state
    known = labels(settings["template"])
    if molecule.atoms and inputs.several(known, []):
        settings["atoms"] = [label if label in known else inputs.element(label) for label in molecule.atoms]
        dropped = [f"{name} but for its labels" if name == "molecule" else name for name in dropped]
    return settings, dropped


def labels(text: str) -> list[str]:
    """The labels that have a basis of their own, as in H1, and their elements, which have another or the same."""
    assigned = {label.capitalize() for label in re.findall(r"(?im)^\s*assign\s+([a-z]\S*)\s+\S+$", text)}
    return sorted(assigned | {inputs.element(label) for label in assigned})


def of_atoms(symbols: list[str], settings: Settings) -> list[str]:
    """The label of each atom. Raises ValueError if the template's own atoms should say, and are others."""
    return inputs.labelled(symbols, labels(settings["template"]), settings.get("atoms", []), "molecule")


def electrons(frame: Frame, settings: Settings) -> tuple[int, int]:
    """Charge and multiplicity: the frame's, or those of the template."""
    charge, multiplicity = frame.get("charge"), frame.get("multiplicity")
    return (
        settings.get("charge", 0) if charge is None else charge,
        settings.get("multiplicity", 1) if multiplicity is None else multiplicity,
    )


def render(frame: Frame, settings: Settings) -> str:
    """The input of one frame, which leaves its numbers with all their digits in a file.

    Raises ValueError if its atoms are not those of the template.
    """
    charge, multiplicity = electrons(frame, settings)
    tags = of_atoms(frame["symbols"], settings)
    atoms = [
        f"  {tag} " + " ".join(f"{x / BOHR:.14f}" for x in row)
        for tag, row in zip(tags, frame["positions"], strict=True)
    ]
    # Psi4's own reference is for closed shells only; what the template states counts
    stated = re.search(r"(?:^|\s|\{)reference\s", settings["template"].lower())
    open_shell = ["set reference uhf"] if multiplicity > 1 and not stated else []
    return "\n".join(
        [
            *("molecule psiflow {", f"  {charge} {multiplicity}", *atoms),
            *("  units bohr", "  no_com", "  no_reorient", "  symmetry c1", "}"),
            *(*open_shell, settings["template"].rstrip()),
            # dertype: a numerical gradient would leave the energy of another geometry; and of correlated methods the
            # wavefunction keeps the SCF's energy only
            f"psiflow_gradient = gradient({settings['method']!r}, dertype=1)",
            "import json",
            "psiflow_numbers = [psi4.variable('CURRENT ENERGY'), psiflow_gradient.to_array().tolist()]",
            f"open({NUMBERS!r}, 'w').write(json.dumps(psiflow_numbers))",
            "",
        ]
    )


def check_basis(settings: Settings, elements: set[str]) -> None:
    """Raise BadData for an element that a basis block leaves out, where it assigns to elements only.

    And for one with several, if the template has no atoms to say whose they are.
    """
    text, atoms = settings["template"], settings.get("atoms", [])
    for symbol, own in inputs.several(labels(text), atoms).items():
        if symbol in elements and symbol not in map(inputs.element, atoms):
            raise BadData(f"the basis of the Psi4 input has several {symbol}: {', '.join(own)}", inputs.GIVE_ATOMS)
    assigned = set(re.findall(r"(?im)^\s*assign\s+([a-z]{1,2})\s+\S+$", text))
    if assigned and not re.search(r"(?im)^\s*assign\s+\S+$", text):
        for element in sorted(elements - {symbol.capitalize() for symbol in assigned}):
            raise BadData(f"the basis of the Psi4 input has no {element}", f"add a line to it: assign {element} …")
