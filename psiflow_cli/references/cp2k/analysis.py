"""What a CP2K log says of the density: the dipole moment and the charges of the atoms."""

from __future__ import annotations

import re
from dataclasses import dataclass

from psiflow_cli.references.cp2k.output import NUMBER, Unreadable, number

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


@dataclass(frozen=True)
class Dipole:
    """A dipole moment in e·bohr, and the charge in e that makes it depend on its reference point."""

    moment: list[float]
    charge: float


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
