"""What a template asks for besides energy, forces and stress, and a log says: the dipole moment and atomic charges."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from psiflow_cli.references.cp2k import template
from psiflow_cli.references.cp2k.output import NUMBER, Unreadable, number
from psiflow_cli.references.cp2k.template import Keyword, Section

if TYPE_CHECKING:
    from psiflow_cli.messages import Frame

PROPERTIES = {"MOMENTS": "dipole", "MULLIKEN": "mulliken_charges", "HIRSHFELD": "hirshfeld_charges"}
"""Sections of &DFT/&PRINT, and what a frame gets from them."""
_WHERE = ("FILENAME", "ADD_LAST", "EACH", "COMMON_ITERATION_LEVELS", "LOG_PRINT_KEY", "__CONTROL_VAL")
"""When and where CP2K prints, which must be once, into its log."""
DEBYE_PER_ATOMIC_UNIT = 2.541746227414447
"""CP2K's own, for the digits that it prints."""
_DIPOLE = re.compile(rf"^ +Dipole moment \[Debye\]\s+X= *{NUMBER} +Y= *{NUMBER} +Z= *{NUMBER} +Total=", re.M)
_TB_DIPOLE = re.compile(rf"^ TB_DIPOLE\| Moment \[a\.u\.\] +{NUMBER} +{NUMBER} +{NUMBER}\s*$", re.M)
_CHARGE = re.compile(rf"Electronic= *\S+ +Core= *\S+ +Total= *{NUMBER}")
_ROW = re.compile(r"^ +(\d+) +[A-Z][a-z]? +\d+ +([-+.\dED ]+?) *$", re.M)
_TOTAL = re.compile(r"^ *#? *Total [Cc]harge(?: and spin)? +(.+?) *$", re.M)
_TITLES = {"mulliken_charges": "Mulliken Population Analysis", "hirshfeld_charges": "Hirshfeld Charges"}
_NET = {"mulliken_charges": {2: 1, 4: 2}, "hirshfeld_charges": {3: 2, 5: 4}}
"""Where in a row of so many numbers the net charge stands: electrons (of each spin), charge, spin; and core, electrons
(of each spin), spin, charge."""
_ROUNDED = {"mulliken_charges": 1e-6, "hirshfeld_charges": 1e-3}
"""e: the last digit that is printed."""


def strip(force_eval: Section) -> list[str]:
    """Remove every &PRINT section but what is kept of the one in &DFT; returns the paths of those removed.

    A section less matters: &PROGRAM_RUN_INFO OFF would hide from us whether the SCF converged.
    """
    removed: list[str] = []
    requested = _requested(force_eval)
    _remove(force_eval, "FORCE_EVAL", removed)
    if requested:
        force_eval.ensure("DFT").items.append(requested)
    return removed


def _requested(force_eval: Section) -> Section | None:
    """What stays of &DFT/&PRINT: the properties that are asked for, into the log."""
    printed = force_eval.find("DFT/PRINT")
    if printed is None:
        return None
    requested = Section("PRINT", "", printed.line)
    for name in PROPERTIES:
        for section in printed.sections(name):
            if section.parameter.upper() != "OFF":
                section.parameter = "ON"
                section.drop(*_WHERE)
                requested.items.append(section)
    return requested if requested.items else None


def _remove(section: Section, path: str, removed: list[str]) -> None:
    if section.drop("PRINT"):
        removed.append(f"{path}/PRINT")
    for below in section.sections():
        _remove(below, f"{path}/{below.name}", removed)


@dataclass(frozen=True)
class Dipole:
    """A dipole moment in e·bohr, and the charge in e that makes it depend on its reference point."""

    moment: list[float]
    charge: float


class Properties(TypedDict, total=False):
    """What a label has besides energy, forces and stress; see `messages.Label`."""

    info: dict[str, float | list[float]]
    arrays: dict[str, list[float]]


def read(frame: Frame, text: str, log: str) -> Properties:
    """The properties that the input `text` asks for and the log has, as they go into a label. Raises Unreadable."""
    force_eval = template.only(template.parse(text, "input"), "FORCE_EVAL")
    printed = force_eval.find("DFT/PRINT")
    info: dict[str, float | list[float]] = {}
    arrays: dict[str, list[float]] = {}
    for section in printed.sections() if printed else []:
        name = PROPERTIES.get(section.name)
        if name is None:
            continue
        if name == "dipole":
            moments = dipole(log)
            if moments:
                info[name] = _of_frame(moments, section, frame, force_eval)
        else:
            net = charges(log, name, len(frame["symbols"]))
            if net:
                arrays[name] = net
    properties: Properties = {}
    if info:
        properties["info"] = info
    if arrays:
        properties["arrays"] = arrays
    return properties


def _of_frame(moments: Dipole, section: Section, frame: Frame, force_eval: Section) -> list[float]:
    """The dipole moment in e·Å about a point that stands where the template says in the frame's own coordinates.

    That of an ion depends on the point, and the ion may have been moved into a box.
    """
    from ase.units import Bohr

    moment = [x * Bohr for x in moments.moment]
    if section.word("REFERENCE", "REF") in ("COM", "COAC"):
        return moment
    first = next(i.value for i in force_eval.ensure("SUBSYS/COORD").items if isinstance(i, Keyword))
    moved = [float(x) - y for x, y in zip(first.split()[:3], frame["positions"][0], strict=True)]
    return [m - moments.charge * x for m, x in zip(moment, moved, strict=True)]


def dipole(log: str) -> Dipole | None:
    """The last dipole moment in a log; None if there is none. Raises Unreadable."""
    start = max(log.rfind(" ELECTRIC/MAGNETIC MOMENTS"), log.rfind(" TB_DIPOLE| Dipole type"))
    if start < 0:
        return None
    text = log[start : start + 3000]
    debye, atomic, total = (x.search(text) for x in (_DIPOLE, _TB_DIPOLE, _CHARGE))
    match = debye or atomic
    if not match or (debye and not total):
        raise Unreadable("the dipole moment in the log cannot be read")
    unit = DEBYE_PER_ATOMIC_UNIT if debye else 1.0
    return Dipole([number(x) / unit for x in match.groups()], number(total[1]) if total else 0.0)


def charges(log: str, name: str, atoms: int) -> list[float] | None:
    """The net charges in e of the last population analysis of a kind; None if the log has none. Raises Unreadable.

    They must add up to the total that is printed below them, or the columns are not what they were.
    """
    title = _TITLES[name]
    start = log.rfind(title)
    if start < 0:
        return None
    total = _TOTAL.search(log, start)
    rows = list(_ROW.finditer(log, start, total.start())) if total else []
    try:
        numbers = [[number(x) for x in row[2].split()] for row in rows]
    except ValueError:
        numbers = []
    place = _NET[name].get(len(numbers[0])) if numbers else None
    in_order = [int(row[1]) for row in rows] == list(range(1, atoms + 1))
    if total is None or place is None or not in_order or any(len(row) != len(numbers[0]) for row in numbers):
        raise Unreadable(f"the {title} in the log cannot be read")
    net = [row[place] for row in numbers]
    sums = total[1].split()
    sum_printed = number(sums[place] if name == "mulliken_charges" and len(sums) > place else sums[-1])
    if abs(sum(net) - sum_printed) > _ROUNDED[name] * (atoms + 1):
        raise Unreadable(f"the {title} in the log do not add up to {sum_printed}")
    return net
