"""CP2K's own test inputs, by hand and with psiflow: python cp2k_inputs.py TESTS [INPUT ...] [--cp2k PROGRAM].

TESTS is the `tests` folder of a checkout of CP2K, an INPUT a file or a folder below it; without one, a choice of them
is run. Each input is a single point by hand, and its atoms are a frame that psiflow labels with the same input. What
differs from the file in both: RUN_TYPE and PRINT_LEVEL, at least 100 SCF steps, no &MOTION, no wavefunction to begin
with. Nothing here uses psiflow's reader of inputs. The table says `equal` (1e-6 Ha, 1e-4 Ha/bohr), `DIFFERS`, `refused`
by psiflow with its reason, or what failed by hand as well.
"""

from __future__ import annotations

import argparse
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HARTREE, BOHR = 27.211386024367243, 0.5291772105638411  # eV and Å, as psiflow converts labels
BOHR_OF_CP2K = 0.529177208590  # Å, as CP2K converts positions
CHOICE = Path(__file__).with_suffix(".txt")
"""Lines of a folder and the names of inputs in it."""
ONE_CELL = ["1", "1", "1"]
MOST_ATOMS, PATIENCE_S = 40, 120
_NUMBER = r"[-+]?\d*\.?\d+(?:[EDed][-+]?\d+)?"
_ENERGY = re.compile(rf"^ ENERGY\| Total FORCE_EVAL .*?({_NUMBER})\s*$", re.M)
_FORCE = re.compile(rf"^ +(?:FORCES\| +)?\d+ +(?:\d+ +[A-Z]\S* +)?({_NUMBER}) +({_NUMBER}) +({_NUMBER})", re.M)


class Skipped(Exception):
    """This input cannot be made a frame; the message says why."""


@dataclass
class Structure:
    """Elements, positions and cell in Å, and whether it is periodic along x, y and z."""

    symbols: list[str]
    positions: list[list[float]]
    cell: list[list[float]]
    periodic: str

    def extxyz(self) -> str:
        lattice = " ".join(repr(x) for row in self.cell for x in row)
        pbc = " ".join("T" if axis in self.periodic else "F" for axis in "XYZ")
        rows = [f"{s} {' '.join(map(repr, row))}\n" for s, row in zip(self.symbols, self.positions, strict=True)]
        return f'{len(rows)}\nLattice="{lattice}" Properties=species:S:1:pos:R:3 pbc="{pbc}"\n{"".join(rows)}'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tests", type=Path)
    parser.add_argument("inputs", nargs="*")
    parser.add_argument("--cp2k", default="cp2k.psmp")
    options = parser.parse_args()
    os.environ.update(OMP_NUM_THREADS="1", OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    print(f"{'input':52} {'by hand / Ha':>18} {'dE / Ha':>9} {'dF / Ha/bohr':>12}  outcome")
    counts: dict[str, int] = {}
    lines = [line.split(": ") for line in CHOICE.read_text().splitlines()]
    choice = [f"{folder}/{name}.inp" for folder, names in lines for name in names.split()]
    for name in options.inputs or choice:
        path = options.tests / name
        for file in sorted(path.glob("*.inp")) if path.is_dir() else [path]:
            with tempfile.TemporaryDirectory(prefix="cp2k-inputs-") as folder:
                numbers, outcome = compared(file, Path(folder), options.cp2k)
            print(f"{file.relative_to(options.tests)!s:52} {numbers:41}  {outcome}", flush=True)
            counts[outcome.split(":")[0]] = counts.get(outcome.split(":")[0], 0) + 1
    print(", ".join(f"{number} {outcome}" for outcome, number in sorted(counts.items())))
    sys.exit("DIFFERS" in counts)


def compared(file: Path, scratch: Path, cp2k: str) -> tuple[str, str]:
    """The columns of numbers, and the outcome."""
    folder = shutil.copytree(file.parent, scratch / file.parent.name)
    for other in file.parent.parent.iterdir():  # that an input may refer to
        if other != file.parent:
            (scratch / other.name).symlink_to(other.resolve())
    try:
        lines = list(flat(folder / file.name, {}))
        frame = structure(lines, folder)
    except Skipped as reason:
        return "", f"skipped: {reason}"
    (folder / "by-hand.inp").write_text("".join(f"{line}\n" for line in single_point(lines)))
    (folder / "template.inp").write_text(patient(lines))
    (folder / "frame.xyz").write_text(frame.extxyz())
    energy, forces, problem = by_hand(folder, len(frame.symbols), cp2k)
    label, refusal = labelled(folder)
    if label is None:
        numbers = f"{energy:18.9f}" if energy is not None else ""
        return numbers, f"failed by hand as well: {problem} | {refusal}" if problem else f"refused: {refusal}"
    if energy is None:
        slow = problem.startswith("took")
        return "", f"skipped: {problem}" if slow else f"DIFFERS: psiflow labels what fails by hand: {problem}"
    own_energy, own_forces = label
    de = abs(own_energy / HARTREE - energy)
    df = max(abs(a * BOHR / HARTREE - b) for a, b in zip(own_forces, forces, strict=True))
    equal = de < 1e-6 and df < 1e-4 and not problem
    outcome = "equal" if equal else f"DIFFERS: {problem}" if problem else "DIFFERS"
    return f"{energy:18.9f} {de:9.1e} {df:12.1e}", outcome


def flat(file: Path, variables: dict[str, str]) -> Iterator[str]:
    """The lines of an input without comments, with @SET, @IF, @INCLUDE and variables resolved."""
    skipping = False
    for raw in file.read_text(errors="replace").splitlines():
        line = re.split(r"[!#]", raw)[0].strip()
        word, _, rest = line.partition(" ")
        if word.upper() == "@ENDIF":
            skipping = False
        if skipping or not line or word.upper() == "@ENDIF":
            continue
        rest = re.sub(r"\$\{(\w+)\}|\$(\w+)", lambda m: variables[(m[1] or m[2]).upper()], rest).strip()
        if word.upper() == "@SET":
            name, _, value = rest.partition(" ")
            variables[name.upper()] = value.strip()
        elif word.upper() == "@IF":
            skipping = not holds(rest.strip("() "))
        elif word.upper() == "@INCLUDE":
            yield from flat(file.parent / rest.strip("'\""), variables)
        else:
            yield f"{word} {rest}".strip()


def holds(condition: str) -> bool:
    """Whether an @IF is true."""
    for sign, equal in (("==", True), ("/=", False)):
        left, found, right = condition.partition(sign)
        if found:
            return (left.strip() == right.strip()) is equal
    return condition not in ("", "0")


def walked(lines: list[str]) -> Iterator[tuple[str, str]]:
    """Each line with the path of the section that it stands in or opens."""
    path: list[str] = []
    for line in lines:
        word = line.split()[0].upper()
        if word.startswith("&END"):
            yield "/".join(path), line
            path.pop()
            continue
        if word.startswith("&"):
            path.append(word[1:])
        yield "/".join(path), line


def single_point(lines: list[str]) -> Iterator[str]:
    """The lines of the same input as a single point that prints its forces."""
    for path, line in walked(lines):
        word = line.split()[0].upper()
        if path.split("/")[0] in ("MOTION", "EXT_RESTART") or path.startswith(("FORCE_EVAL/PRINT", "GLOBAL/PRINT")):
            continue
        if path == "GLOBAL" and word in ("RUN_TYPE", "PRINT_LEVEL", "IOLEVEL"):
            continue
        if word in ("WFN_RESTART_FILE_NAME", "RESTART_FILE_NAME"):
            continue
        if path == "FORCE_EVAL/DFT/SCF" and word == "MAX_SCF" and int(line.split()[1]) < 100:
            line = "MAX_SCF 100"
        yield line
        if path == "GLOBAL" and word == "&GLOBAL":
            yield from ("RUN_TYPE ENERGY_FORCE", "PRINT_LEVEL MEDIUM")
        if path == "FORCE_EVAL" and word == "&FORCE_EVAL":
            yield from ("&PRINT", "&FORCES", "NDIGITS 14", "&END FORCES", "&END PRINT")


def patient(lines: list[str]) -> str:
    """The user's input as it is, with as many SCF steps as by hand."""
    text = ""
    for path, line in walked(lines):
        few = path == "FORCE_EVAL/DFT/SCF" and line.upper().startswith("MAX_SCF") and int(line.split()[1]) < 100
        text += "MAX_SCF 100\n" if few else f"{line}\n"
    return text


def structure(lines: list[str], folder: Path) -> Structure:
    """The frame that an input holds. Raises Skipped."""
    found = list(walked(lines))
    cell = [line for path, line in found if path == "FORCE_EVAL/SUBSYS/CELL" and line[0] != "&"]
    coord = [line for path, line in found if path == "FORCE_EVAL/SUBSYS/COORD" and line[0] != "&"]
    for path, line in found:
        words = line.split()
        if path == "FORCE_EVAL/SUBSYS/TOPOLOGY" and words[0].upper() == "COORD_FILE_NAME" and words[1].endswith("xyz"):
            coord = (folder / words[1]).read_text().splitlines()[2:]
        if path == "FORCE_EVAL/SUBSYS/TOPOLOGY" and words[0].upper() == "MULTIPLE_UNIT_CELL" and words[1:] != ONE_CELL:
            raise Skipped("copies of a cell")
    elements = {}
    for path, line in found:
        words = line.split()
        if path == "FORCE_EVAL/SUBSYS/KIND" and words[0].upper() == "&KIND":
            kind = words[1]
        elif path == "FORCE_EVAL/SUBSYS/KIND" and words[0].upper() in ("ELEMENT", "ELEMENT_SYMBOL"):
            elements[kind.upper()] = words[1]
    vectors, periodic = cell_of(cell)
    for path, line in found:
        if path == "FORCE_EVAL/DFT/POISSON" and line.split()[0].upper() == "PERIODIC":
            periodic = line.split()[1].upper()  # it decides the energy, not that of the cell
    options = {line.split()[0].upper(): line.split()[1:] for line in coord}
    atoms = [line.split() for line in coord if line.split()[0].upper() not in ("SCALED", "UNIT")]
    if not atoms:
        raise Skipped("no coordinates")
    if len(atoms) > MOST_ATOMS:
        raise Skipped(f"{len(atoms)} atoms")
    unit = {"ANGSTROM": 1.0, "BOHR": BOHR_OF_CP2K}[(options.get("UNIT") or ["angstrom"])[0].upper()]
    rows = [[number(x) * unit for x in words[1:4]] for words in atoms]
    if options.get("SCALED", ["F"])[:1] in ([], ["T"], ["TRUE"], [".TRUE."]):
        rows = [[sum(row[i] * vectors[i][j] for i in range(3)) for j in range(3)] for row in rows]
    return Structure([symbol(w[0], elements) for w in atoms], rows, vectors, periodic)


def number(text: str) -> float:
    """A number or a fraction such as `1./3.`."""
    top, _, bottom = text.partition("/")
    return float(top) / float(bottom or 1)


def symbol(label: str, elements: dict[str, str]) -> str:
    """The element of an atom with this label."""
    letters = re.match("[A-Za-z]+", elements.get(label.upper(), label))
    assert letters
    return letters[0].capitalize()


def cell_of(lines: list[str]) -> tuple[list[list[float]], str]:
    """Cell vectors in Å, and the directions that are periodic. Raises Skipped."""
    values: dict[str, list[str]] = {line.split()[0].upper(): line.split()[1:] for line in lines}
    if values.get("MULTIPLE_UNIT_CELL", ONE_CELL) != ONE_CELL:
        raise Skipped("copies of a cell")

    def lengths(name: str) -> list[float]:
        words = values[name]
        unit = BOHR_OF_CP2K if words[0].lower() == "[bohr]" else 1.0
        return [number(w) * unit for w in words if not w.startswith("[")]

    periodic = (values.get("PERIODIC") or ["XYZ"])[0].upper()
    if "ABC" in values:
        a, b, c = lengths("ABC")
        angles = values.get("ALPHA_BETA_GAMMA") or values.get("ANGLES") or ["90", "90", "90"]
        alpha, beta, gamma = (math.radians(number(x)) for x in angles if not x.startswith("["))
        cos = [0.0 if abs(math.cos(x)) < 1e-12 else math.cos(x) for x in (alpha, beta, gamma)]
        y = (cos[0] - cos[1] * cos[2]) / math.sin(gamma)
        third = [c * cos[1], c * y, c * math.sqrt(1 - cos[1] ** 2 - y**2)]
        return [[a, 0.0, 0.0], [b * cos[2], b * math.sin(gamma), 0.0], third], periodic
    if {"A", "B", "C"} <= set(values):
        return [lengths(name) for name in "ABC"], periodic
    raise Skipped("no cell")


def by_hand(folder: Path, atoms: int, cp2k: str) -> tuple[float | None, list[float], str]:
    """Energy in Ha, forces in Ha/bohr, and what went wrong."""
    try:
        done = subprocess.run(
            [*cp2k.split(), "by-hand.inp"],
            cwd=folder,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PATIENCE_S,
        )
    except subprocess.TimeoutExpired:
        return None, [], f"took more than {PATIENCE_S} s"
    log = done.stdout
    energies = _ENERGY.findall(log)
    start = max(log.rfind("ATOMIC FORCES in [a.u.]"), log.rfind("FORCES| Atomic forces"))
    rows = _FORCE.findall(log[start:])[:atoms] if start >= 0 else []
    if done.returncode or not energies or len(rows) != atoms:
        said = re.findall(r"^ \*\s+(?:\[ABORT\]|\\___/|\|)\s+(.*?)\s+\*$", log, re.M)
        return None, [], " ".join(said[:2])[:80] or f"exit code {done.returncode}"
    problem = "did not converge" if re.search(r"NOT converged|SCF not converged|FAILED to converge", log) else ""
    return float(energies[-1]), [float(x) for row in rows for x in row], problem


def labelled(folder: Path) -> tuple[tuple[float, list[float]] | None, str]:
    """Energy in eV and forces in eV/Å that psiflow writes, or why it writes none."""
    command = ["psiflow", "label", "frame.xyz", "--reference", "cp2k", "--input", "template.inp", "-o", "out.xyz"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    failed = folder / "out.failed.xyz"
    if failed.exists():
        head = failed.read_text().splitlines()[1]
        return None, " ".join(re.findall(r'failure(?:_message)?=("[^"]*"|\S+)', head))
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("psiflow: ")]
        return None, said[-1][9:] if said else f"exit code {done.returncode}"
    head, *rows = (folder / "out.xyz").read_text().splitlines()[1:]
    energy = re.search(rf"\benergy=({_NUMBER})", head)
    names = re.search(r"Properties=(\S+)", head)
    assert energy
    assert names
    columns = names[1].split(":")
    before = columns[: columns.index("forces")]
    first = sum(int(width) for width in before[2::3])
    return (float(energy[1]), [float(x) for row in rows for x in row.split()[first : first + 3]]), ""


if __name__ == "__main__":
    main()
