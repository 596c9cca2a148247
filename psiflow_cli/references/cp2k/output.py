"""What a CP2K log says: energy, forces, stress, and above all whether they may be believed.

Written for 2023.1 and for the newer labels (`[hartree]`, `FORCES|`, `[bar]`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psiflow_cli.errors import counted
from psiflow_cli.references.cp2k import complaint
from psiflow_cli.references.cp2k.installation import SHIPPED
from psiflow_cli.worker.failures import is_out_of_memory

if TYPE_CHECKING:
    from psiflow_cli.messages import FailureClass, Vectors

NUMBER = r"([-+]?\d+\.\d*(?:[EDed][-+]?\d+)?)"
VERSION = re.compile(r"^ (?:CP2K\| version string:\s+)?CP2K version (.+?)\s*$", re.M)
_ENERGY = re.compile(
    rf"^ ENERGY\| Total FORCE_EVAL \( \w+ \) energy [\[(](?:a\.u\.|hartree)[\])]:?\s+{NUMBER}\s*$", re.M
)
_FORCES = re.compile(r"^ (?:ATOMIC FORCES in \[a\.u\.\]|FORCES\| Atomic forces \[hartree/bohr\])\s*$", re.M)
_OLD_FORCE = re.compile(rf"^\s+(\d+)\s+\d+\s+\w+\s+{NUMBER}\s+{NUMBER}\s+{NUMBER}\s*$")
_NEW_FORCE = re.compile(rf"^ FORCES\|\s+(\d+)\s+{NUMBER}\s+{NUMBER}\s+{NUMBER}\s+{NUMBER}\s*$")
_STRESS = re.compile(r"^ STRESS\| (?:Analytical|Numerical) stress tensor \[(\w+)\]\s*$", re.M)
_STRESS_ROW = re.compile(rf"^ STRESS\|\s+([xyz])\s+{NUMBER}\s+{NUMBER}\s+{NUMBER}\s*$", re.M)
_ATOMIC_PRESSURE = re.compile(rf"^ \[a\.u\.\] -> \[Pa\]\s+{NUMBER}\s*$", re.M)
_SCF_ENDS = re.compile(r"^.*(SCF run converged|Leaving inner SCF loop).*$", re.M)
_ALMO = re.compile(r"^ -+ ALMO SETTINGS -+$", re.M)
"""Absolutely localized orbitals: CP2K aborts if they do not converge, and an SCF in the log is that of their guess."""
_ONE_STEP = re.compile(r"^ Diagonalization +Time: ", re.M)
"""Tight binding without self-consistent charges (2025.1): there is nothing to converge."""
_NOT_CONVERGED = re.compile(
    r"^.*?(?:n['o]?t[\s*]+converge|failed[\s*]+to[\s*]+converge|no convergence).*$", re.M | re.I
)
_IN_EACH_STEP = ("SCCS|", "POISSON|")
"""What converges again in every step of the SCF: the last line counts."""
_HARMLESS = re.compile(
    r"locali[sz]ation|line search|condition number|eigensolver|precon solver|MM SPLINE|EEQ\| PBC solver|tend to be",
    re.I,
)
"""What need not converge for the energy and the forces to be right, or is then solved in another way."""
_NOT_STARTED = re.compile(
    r"unable to find the specified executable|error while loading shared libraries|execve\(\)|execvp error|"
    r"command not found|failed to start|no such file or directory|not enough slots",
    re.I,
)
_BOX = re.compile(r"^ \*{79}\n((?: \*.*\*\n)+?) \*{79}$", re.M)
_ART = re.compile(r"^\s*(?:___|/   \\|\[ABORT\]|\\___/|O/\||/\| \||/ \\|\|)(?=\s|$)")
_BAD_TEMPLATE = re.compile(
    r"^input/|^common/cp_units|was not found in the|cannot be opened|No &KIND section|An invalid potential type|"
    r"(?:basis set|potential) type was defined|No DFT-D3 values|Automatic basis set generation|No forces/gradients|"
    r"\bNYI\b|not (?:yet )?(?:been )?(?:implemented|supported|available|possible)|are required for|"
    r"build without|compiled? (?:CP2K )?with|linked|requires? (?:the )?\w+ library"
)
_OF_THE_CELL = re.compile(r"\bcells?\b|orthor?hombic|triclinic|periodic", re.I)
"""What depends on the frame's cell is no fault of the template."""
_NO_STRESS = re.compile(r"\bnot? .*\bstress|\bstress\b.*\bnot\b", re.I)
_BAD_FRAME = re.compile(
    r"odd number of electrons|multiplicity|too few electrons|GEOMETRY wrong|EMAX_SPLINE|Degenerate cell|"
    r"number of electrons|Illegal combination of periodicity",
    re.I,
)
GPA_PER_ATOMIC_PRESSURE = 29421.0107994716
"""CP2K's own conversion (CODATA 2006), for logs that do not print it."""


class Unreadable(Exception):
    """The log of a run that ended well lacks a number it should hold."""


@dataclass(frozen=True)
class Results:
    """Energy in Ha, forces in Ha/bohr, stress in Ha/bohr³ with CP2K's sign (compression positive)."""

    energy: float
    forces: Vectors
    stress: Vectors | None


def version(log: str) -> str:
    """Such as `2023.1`, or "" if CP2K never started."""
    match = VERSION.search(log)
    return match[1] if match else ""


def aborts(log: str) -> list[str]:
    """The text of each [ABORT] box: `place in the source: message`."""
    texts = []
    for box in _BOX.finditer(log):
        if "[ABORT]" not in box[1]:
            continue
        rows = [_ART.sub("", row.strip()[1:-1]).strip() for row in box[1].splitlines()]
        *message, place = [row for row in rows if row]
        texts.append(f"{place}: {' '.join(message)}")
    return texts


def never_started(log: str) -> str:
    """The line that says why the program could not be started, or ""."""
    if "CP2K|" in log or aborts(log):
        return ""
    return next((line.strip() for line in log.splitlines() if _NOT_STARTED.search(line)), "")


def bad_template(log: str) -> str:
    """CP2K's complaint about the template itself, or ""."""
    for text in aborts(log):
        place, _, message = text.partition(": ")
        if _BAD_TEMPLATE.search(place) or (_BAD_TEMPLATE.search(message) and not _OF_THE_CELL.search(message)):
            return complaint.tidy(message)
    return ""


def missing_data(complaint: str) -> str:
    """The file that comes with CP2K and that it does not find, by its complaint, or ""."""
    match = re.search(r"file <([^>]+)> cannot be opened. It does not exist", complaint)
    return match[1] if match and match[1].split("/")[0] in SHIPPED else ""


def no_stress(log: str) -> str:
    """CP2K's complaint that it has no stress for this method, or ""."""
    return next((text.partition(": ")[2] for text in aborts(log) if _NO_STRESS.search(text)), "")


def failed(log: str, returncode: int) -> tuple[FailureClass, str] | None:
    """The class and the message of a failure, or None for a run that ended well with a converged SCF."""
    complaints = [text.partition(": ")[2] for text in aborts(log)]
    reason = _not_converged(log)
    if reason:
        return "unconverged", reason
    for text in complaints:
        if _BAD_FRAME.search(text):
            return "invalid-input", text
    if returncode in (-9, 137) or is_out_of_memory(log):
        return "out-of-memory", "killed, probably because memory ran out"
    if returncode != 0 or "PROGRAM ENDED AT" not in log:
        how = f"ended by signal {-returncode}" if returncode < 0 else f"exit code {returncode}"
        return "crashed", f"{complaints[-1] if complaints else 'CP2K ended early'} ({how})"
    ends = _SCF_ENDS.findall(log)[-1:]
    converged = ends == ["SCF run converged"] or (not ends and _ONE_STEP.search(log)) or _ALMO.search(log)
    return None if converged else ("unconverged", "the log shows no converged SCF")


def _not_converged(log: str) -> str:
    """What CP2K says did not converge, or ""."""
    texts = [_ART.sub("", match[0].strip(" *")) for match in _NOT_CONVERGED.finditer(log)]
    lines = [" ".join(text.replace("*", " ").split()) for text in texts]
    bad = [line for line in lines if not line.startswith(_IN_EACH_STEP) and not _HARMLESS.search(line)]
    for name in _IN_EACH_STEP:
        last = re.findall(rf"^ *{re.escape(name)}.*converge.*$", log, re.M | re.I)[-1:]
        bad += [line.strip() for line in last if _NOT_CONVERGED.search(line)]
    if not bad:
        return ""
    return "the SCF did not converge" if "SCF" in bad[0] else f"CP2K says: {bad[0]}"


def results(log: str, atoms: int, stress: bool) -> Results:
    """The numbers of a run that did not fail. Raises Unreadable."""
    energies = _ENERGY.findall(log)
    if not energies:
        raise Unreadable("the log has no energy")
    forces = _forces(log)
    if len(forces) != atoms:
        raise Unreadable(f"the log has {counted(len(forces), 'force')} for {counted(atoms, 'atom')}")
    return Results(number(energies[-1]), forces, _stress(log) if stress else None)


def number(text: str) -> float:
    """A number as Fortran writes it. Raises ValueError."""
    return float(text.replace("D", "E").replace("d", "e"))


def _forces(log: str) -> Vectors:
    blocks = list(_FORCES.finditer(log))
    if not blocks:
        raise Unreadable("the log has no forces in atomic units")
    rows: Vectors = []
    for line in log[blocks[-1].end() :].splitlines():
        row = _OLD_FORCE.match(line) or _NEW_FORCE.match(line)
        if row and int(row[1]) == len(rows) + 1:
            rows.append([number(row[i]) for i in (2, 3, 4)])
        elif rows:
            break
    return rows


def _stress(log: str) -> Vectors:
    headers = list(_STRESS.finditer(log))
    if not headers:
        raise Unreadable("the log has no stress")
    rows = _STRESS_ROW.findall(log[headers[-1].end() :])[:3]
    printed = _ATOMIC_PRESSURE.search(log)
    per_gpa = 1e9 / number(printed[1]) if printed else 1 / GPA_PER_ATOMIC_PRESSURE
    units = {"gpa": per_gpa, "bar": per_gpa * 1e-4}
    unit = headers[-1][1].lower()
    if [row[0] for row in rows] != ["x", "y", "z"] or unit not in units:
        raise Unreadable(f"the stress in the log, in {unit}, cannot be read")
    return [[number(x) * units[unit] for x in row[1:]] for row in rows]
