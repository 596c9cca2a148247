"""From a user's CP2K input to the method alone: what psiflow controls goes out, what files it names come in."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from psiflow_cli.errors import BadData, UsageError, nearest
from psiflow_cli.references.cp2k import preprocess, template
from psiflow_cli.references.cp2k.template import Keyword, Section

_INTEGER = re.compile("[-+]?[0-9]+")
_LETTERS = re.compile("[A-Za-z]+")
OPTIONS = ("box", "reuse_uks")
CONTROLLED = {
    "GLOBAL": "RUN_TYPE PROJECT PROJECT_NAME PRINT_LEVEL IOLEVEL PROGRAM PROGRAM_NAME WALLTIME WALLTI ECHO_INPUT",
    "FORCE_EVAL": "PRINT",
    "FORCE_EVAL/SUBSYS": "COORD VELOCITY TOPOLOGY SHELL_COORD SHELL_VELOCITY CORE_COORD CORE_VELOCITY COLVAR PRINT",
    "FORCE_EVAL/SUBSYS/CELL": "A B C ABC ALPHA_BETA_GAMMA ANGLES CELL_FILE_NAME CELL_FILE_FORMAT PERIODIC "
    "MULTIPLE_UNIT_CELL SYMMETRY",
}
"""What comes from the frame or from psiflow, by section; &CELL_REF stays, as it belongs to the method."""
QUICKSTEP = ("QS", "QUICKSTEP")
WITHOUT_KINDS = ("XTB", "DFTB", "MNDO", "MNDOD", "AM1", "PM3", "PM6", "PM6-FM", "PDG", "RM1")
STRESS = ("NONE", "ANALYTICAL", "NUMERICAL")


def load(input_file: Path, options: dict[str, str]) -> tuple[dict[str, Any], Section, list[str]]:
    """The settings, the tree they were made from, and the names of what was left out of it."""
    for key in options:
        if key not in OPTIONS:
            raise UsageError(f"unknown option {key!r} of the reference cp2k", nearest(key, OPTIONS))
    text = preprocess.read(input_file)
    root = template.parse(text, str(input_file), preprocess.Preprocessor(input_file.parent))
    force_eval = template.only(root, "FORCE_EVAL")
    _check_method(force_eval)
    left_out = _strip(root)
    files = _carry(root, input_file.parent)
    settings: dict[str, Any] = {"template": root.render(), "files": files}
    if "box" in options:
        settings["box"] = _box(options["box"])
    if _yes(options.get("reuse_uks", "no")):
        settings["reuse_uks"] = True
    return settings, root, left_out


def _box(text: str) -> float:
    try:
        edge = float(text)
    except ValueError:
        edge = -1.0
    if not 0 < edge < 1000:
        raise UsageError(f"box={text} of the reference cp2k is not a length in Å")
    return edge


def _yes(text: str) -> bool:
    words = {"yes": True, "true": True, "no": False, "false": False}
    if text.lower() not in words:
        raise UsageError(f"reuse_uks={text} of the reference cp2k is neither yes nor no")
    return words[text.lower()]


def _check_method(force_eval: Section) -> None:
    method = (force_eval.get("METHOD") or "QS").upper()
    if method not in QUICKSTEP:
        raise force_eval.line.error(f"METHOD {method} in &FORCE_EVAL", "only METHOD QS (Quickstep) can label frames")
    dft = force_eval.find("DFT")
    if dft is None:
        raise force_eval.line.error("&FORCE_EVAL has no &DFT section")
    for item in dft.items:
        whole = item.name in ("CHARGE", "MULTIPLICITY", "MULTIP")
        if whole and isinstance(item, Keyword) and not _INTEGER.fullmatch(item.value):
            raise item.line.error(f"{item.name} {item.value} is not a whole number")


def _strip(root: Section) -> list[str]:
    """Remove what psiflow controls, and every top section but &GLOBAL and &FORCE_EVAL; returns what was removed."""
    others = [s.name for s in root.sections() if s.name not in ("GLOBAL", "FORCE_EVAL")]
    left_out = [f"&{item.name}" for item in root.drop(*others)]
    for path, names in CONTROLLED.items():
        section = root.find(path)
        if section is not None:
            left_out += [f"{path}/{item.name}" for item in section.drop(*names.split())]
    force_eval = template.only(root, "FORCE_EVAL")
    stress = (force_eval.get("STRESS_TENSOR") or "").upper()
    if stress and stress not in STRESS:
        force_eval.drop("STRESS_TENSOR")
        left_out.append("FORCE_EVAL/STRESS_TENSOR")
    for path in ("GLOBAL", "FORCE_EVAL/SUBSYS/CELL"):
        section = root.find(path)
        if section is not None and not section.items:  # an empty section is no different method
            parent = root if path == "GLOBAL" else root.ensure("FORCE_EVAL/SUBSYS")
            parent.items = [i for i in parent.items if i is not section]
    return left_out


def _carry(root: Section, folder: Path) -> dict[str, str]:
    """The text of every file beside the template that it names, which then goes by its bare name."""
    files: dict[str, str] = {}
    for section in root.walk():
        for item in section.items:
            if not isinstance(item, Keyword) or not item.name.endswith(("FILE_NAME", "_FILE", "FILENAME", "PARMFILE")):
                continue
            path = folder / item.value.strip("\"'")
            if not item.value or not path.is_file():
                continue  # it comes from CP2K's data directory, or is written by CP2K
            try:
                text = path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                raise item.line.error(f"{path} is not a text file", "only text files go to the workers") from None
            except OSError as error:
                raise item.line.error(f"{path}: {error.strerror}") from None
            item.value = _own_name(path.name, text, files)
            files[item.value] = text
    return files


def _own_name(name: str, text: str, files: dict[str, str]) -> str:
    number, free = 1, name
    while files.get(free, text) != text:
        number += 1
        free = f"{name}.{number}"
    return free


def kinds(force_eval: Section) -> dict[str, str]:
    """The name of the &KIND of each element, `*` for &KIND DEFAULT.

    A kind that is named like the element wins over one that says ELEMENT or has a suffix, such as O1.
    """
    named: dict[str, str] = {}
    stated: dict[str, str] = {}
    subsys = force_eval.find("SUBSYS")
    for kind in subsys.sections("KIND") if subsys else []:
        name = kind.parameter.split()[0] if kind.parameter else ""
        if kind.flag("GHOST"):
            continue
        if name.upper() == "DEFAULT":
            named["*"] = name
            continue
        letters = _LETTERS.match(name)
        element = kind.get("ELEMENT", "ELEMENT_SYMBOL") or (letters[0] if letters else name)
        group = named if name.capitalize() == element.capitalize() else stated
        group.setdefault(element.capitalize(), name)
    return {**stated, **named}


def check(settings: dict[str, Any], elements: set[str], where: str, lines: dict[str, int]) -> None:
    """Raise BadData for the first element without a &KIND; `where` and `lines` place the template's sections."""
    force_eval = template.only(template.parse(settings["template"], where), "FORCE_EVAL")
    method = force_eval.find("DFT/QS")
    if method is not None and (method.get("METHOD") or "").upper() in WITHOUT_KINDS:
        return
    known = kinds(force_eval)
    for element in sorted(elements):
        if element not in known and "*" not in known:
            line = lines.get("SUBSYS") or lines.get("FORCE_EVAL") or 1
            has = f"it has {', '.join(sorted(known))}" if known else "it has none"
            raise BadData(
                f"{where}:{line}: no &KIND {element}, but the data hold {element}", f"add one to &SUBSYS; {has}"
            )
