"""From a user's CP2K input to the method alone: what psiflow controls goes out, what files it names come in.

The user may declare changes of the method, such as `FORCE_EVAL/DFT/SCF/MAX_SCF=200`.
"""

from __future__ import annotations

import re
from pathlib import Path

from psiflow_cli import inputs
from psiflow_cli.errors import UsageError
from psiflow_cli.references.cp2k import files, preprocess, properties, sections, template
from psiflow_cli.references.cp2k.sections import CONTROLLED
from psiflow_cli.references.cp2k.structure import atoms, cell, kinds
from psiflow_cli.references.cp2k.template import Keyword, Section, Settings
from psiflow_cli.values import quantities

_INTEGER = re.compile("[-+]?[0-9]+")
OPTIONS = ("box", "reuse_uks")
STRESS = ("NONE", "ANALYTICAL", "NUMERICAL")
_EXAMPLE = "write FORCE_EVAL/DFT/SCF/MAX_SCF=200, for example; without a value the keyword or section is removed"


def load(input_file: Path, options: dict[str, str]) -> tuple[Settings, Section, list[str]]:
    """The settings, the tree they were made from, and the names of what was left out of it."""
    inputs.check_options("cp2k", options, OPTIONS)
    text = preprocess.read(input_file)
    preprocessor = preprocess.Preprocessor(input_file.parent)
    root = template.parse(text, str(input_file), preprocessor)
    sections.check(root)
    force_eval = template.only(root, "FORCE_EVAL")
    _check_electrons(force_eval)
    kinds.check_names(force_eval)
    own_atoms = atoms.read(force_eval, input_file.parent)
    own_periodic, own_centre = cell.periodic(force_eval), cell.centre(force_eval)
    own_cell = cell.vectors(force_eval) if own_periodic == "NONE" else None
    constraints = ["MOTION/CONSTRAINT"] if root.find("MOTION/CONSTRAINT") else []  # restraints add to an energy
    left_out = [*constraints, *_strip(root), *preprocessor.ignored]
    carried = files.carry(root, input_file.parent)
    settings: Settings = {"template": root.render(), "files": carried}
    labels, molecules = atoms.carried(force_eval, own_atoms)
    used = ["FORCE_EVAL/SUBSYS/COORD"] if labels else []
    if labels:
        settings["labels"] = labels
    if molecules:
        settings["molecules"] = molecules
    if own_periodic:
        settings["periodic"] = own_periodic
    if own_cell:
        settings["cell"] = own_cell
        used.append("FORCE_EVAL/SUBSYS/CELL")
    if own_centre is not None:
        settings["centre"] = own_centre
    if "box" in options:
        settings["box"] = _box(options["box"])
    if _yes(options.get("reuse_uks", "no")):
        settings["reuse_uks"] = True
    return settings, root, [name for name in left_out if name not in used]


def _box(text: str) -> float:
    try:
        edge = quantities.number(text, "Å")
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


def _check_electrons(force_eval: Section) -> None:
    dft = force_eval.find("DFT")
    if dft is None:
        raise force_eval.line.error("&FORCE_EVAL has no &DFT section")
    for item in dft.items:
        whole = item.name in ("CHARGE", "MULTIPLICITY", "MULTIP")
        if whole and isinstance(item, Keyword) and not _INTEGER.fullmatch(item.word):
            raise item.line.error(f"{item.name} {item.value} is not a whole number")


def _strip(root: Section) -> list[str]:
    """Remove what psiflow controls; returns what was removed."""
    left_out = [f"&{item.name}" for item in root.drop(*CONTROLLED[""].split())]
    force_eval = template.only(root, "FORCE_EVAL")
    topology = atoms.topology(force_eval)
    for path, names in CONTROLLED.items():
        section = root.find(path) if path else None
        if section is not None:
            dropped = section.drop(*names.split())
            left_out += [path if path.endswith("CELL") else f"{path}/{item.name}" for item in dropped]
    if topology:
        force_eval.ensure("SUBSYS").items.append(topology)
    left_out += properties.strip(force_eval)
    if force_eval.get("STRESS_TENSOR") is not None and force_eval.word("STRESS_TENSOR") not in STRESS:
        force_eval.drop("STRESS_TENSOR")
        left_out.append("FORCE_EVAL/STRESS_TENSOR")
    for path in ("GLOBAL", "FORCE_EVAL/SUBSYS/CELL"):
        section = root.find(path)
        if section is not None and not section.items:  # an empty section is no different method
            parent = root if path == "GLOBAL" else root.ensure("FORCE_EVAL/SUBSYS")
            parent.items = [i for i in parent.items if i is not section]
    return list(dict.fromkeys(left_out))


def changed(settings: Settings, changes: dict[str, str]) -> Settings:
    """The settings with keywords set, or keywords and sections removed where the value is empty. Raises UsageError."""
    root = template.parse(settings["template"], "template")
    for path, value in changes.items():
        where, _, name = path.upper().strip("/").rpartition("/")
        if not name or where.split("/")[0] not in ("FORCE_EVAL", "GLOBAL"):
            raise UsageError(f"{path!r} is not the path of a CP2K keyword", _EXAMPLE)
        if name in CONTROLLED.get(where, "").split():
            raise UsageError(f"{path}: is set by the frame or by psiflow", _EXAMPLE)
        if value:
            root.ensure(where).put(name, value)
        elif not (section := root.find(where)) or not section.drop(name):
            raise UsageError(f"{path}: is not in the input, so it cannot be removed", _EXAMPLE)
    sections.check(root)
    return {**settings, "template": root.render()}
