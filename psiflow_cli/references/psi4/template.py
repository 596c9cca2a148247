"""Psi4's input: what of a user's template counts, and the input of one frame.

Templates are Psithon: options and at most one call that names the method. Psi4 runs Python, so nothing else is let in.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypedDict

from psiflow_cli.errors import BadData
from psiflow_cli.worker.structures.units import BOHR

if TYPE_CHECKING:
    from psiflow_cli.messages import Frame

NUMBERS = "psiflow.json"
_CALL = re.compile(
    r"^(?:[\w, ]+=\s*)?(?:psi4\.)?(energy|gradient|optimize|opt|frequency|frequencies|freq|hessian)"
    r"\(\s*['\"]([^'\"]+)['\"]\s*(,.*)?\)$"
)
_BLOCKS = ("set", "basis", "molecule", "pcm")  # words that may open a block in braces
_PLAIN = ("set", "memory")


class Settings(TypedDict):
    """A template without its molecule, and the method of its one calculation."""

    template: str
    method: str


def read(source: str, text: str) -> tuple[Settings, list[str]]:
    """The settings, and what of the template is not used. Raises BadData with the line of a mistake."""
    lines: list[str] = []
    dropped: list[str] = []
    method = ""
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
                    raise BadData(f"{source}:{number}: a second calculation", "a template has one")
                if call[3] and call[3].strip(", "):
                    raise BadData(f"{source}:{number}: {call[1]}() takes its method only", "use set for the rest")
                method = call[2]
                dropped += [f"{call[1]}()"] if call[1] != "gradient" else []
                continue
            if word not in (*_BLOCKS, *_PLAIN):
                hint = "set, memory, basis and pcm are kept, and one call such as gradient('pbe')"
                raise BadData(f"{source}:{number}: {line.split()[0]} is not understood here", hint)
            block, opened = word, number
        depth += line.count("{") - line.count("}")
        if depth < 0:
            raise BadData(f"{source}:{number}: a brace that closes nothing")
        if block == "molecule":
            dropped += ["molecule"] if "molecule" not in dropped else []
        else:
            lines.append(line)
    if depth:
        raise BadData(f"{source}:{opened}: the block {block} is never closed", "add a line: }")
    if not method:
        raise BadData(f"{source}:1: no calculation", "add a line such as gradient('pbe')")
    return {"template": "\n".join(lines) + "\n", "method": method}, dropped


def render(frame: Frame, settings: Settings) -> str:
    """The input of one frame, which leaves its numbers with all their digits in a file."""
    charge, multiplicity = frame.get("charge") or 0, frame.get("multiplicity") or 1
    atoms = [
        f"  {symbol} " + " ".join(f"{x / BOHR:.14f}" for x in row)
        for symbol, row in zip(frame["symbols"], frame["positions"], strict=True)
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


def check_basis(text: str, elements: set[str]) -> None:
    """Raise BadData for an element that a basis block leaves out, where it assigns to elements only."""
    assigned = set(re.findall(r"^\s*assign\s+([A-Za-z]{1,2})\s+\S+$", text, re.M))
    if assigned and not re.search(r"^\s*assign\s+\S+$", text, re.M):
        for element in sorted(elements - {symbol.capitalize() for symbol in assigned}):
            raise BadData(f"the basis of the Psi4 input has no {element}", f"add a line to it: assign {element} …")
