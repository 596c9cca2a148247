"""P4: CP2K labels of rattled waters, against `mpirun -n 1 cp2k.psmp` for each and against ASE's CP2K calculator.

All three compute the same frames from the same template and must agree to 1e-6 Ha and 1e-4 Ha/bohr. The command's own
start (Python, Parsl, a worker) is measured with the reference that does nothing, and the ratio is also given without.

What a guess is worth depends on the template: with the preconditioner FULL_ALL, CP2K's default and used here, an atomic
one costs two to five times the iterations, with FULL_SINGLE_INVERSE little more. ASE's calculator always begins with
the last wavefunction, also where the template says ATOMIC, which then does less than was asked for.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import water
from pairs import ratio, seconds

os.environ.update(OMP_NUM_THREADS="1", OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
TEMPLATE = """\
&FORCE_EVAL
  METHOD QS
  STRESS_TENSOR ANALYTICAL
  &DFT
    BASIS_SET_FILE_NAME BASIS_MOLOPT
    POTENTIAL_FILE_NAME GTH_POTENTIALS
    &MGRID
      CUTOFF 150
    &END MGRID
    &QS
      EPS_DEFAULT 1.0E-12
    &END QS
    &SCF
      SCF_GUESS {guess}
      EPS_SCF 1.0E-6
      MAX_SCF 200
      &OT
        MINIMIZER DIIS
        PRECONDITIONER FULL_ALL
      &END OT
    &END SCF
    &XC
      &XC_FUNCTIONAL PBE
      &END XC_FUNCTIONAL
    &END XC
  &END DFT
  &SUBSYS{subsys}
    &KIND O
      BASIS_SET SZV-MOLOPT-GTH
      POTENTIAL GTH-PBE-q6
    &END KIND
    &KIND H
      BASIS_SET SZV-MOLOPT-GTH
      POTENTIAL GTH-PBE-q1
    &END KIND
  &END SUBSYS
  {print}
&END FORCE_EVAL
"""
EDGE = 5.0
SITE = """
[providers.here]
[resources.task]
[executors.default]
provider = "here"
resources = "task"
tasks_per_node = {workers}
[use]
default = "default"
"""
ALONE = "&GLOBAL\n  RUN_TYPE ENERGY_FORCE\n  PROJECT water\n  PRINT_LEVEL MEDIUM\n&END GLOBAL\n"
PRINT = """\
&PRINT
    &FORCES ON
      NDIGITS 12
    &END FORCES
    &STRESS_TENSOR ON
    &END STRESS_TENSOR
  &END PRINT"""
Label = tuple[float, list[list[float]]]
"""Energy in Ha, forces in Ha/bohr."""


def waters(path: Path, count: int) -> Path:
    """Waters in a box, each rattled by 0.05 Å."""
    draw = random.Random(4)
    with path.open("w") as stream:
        for _ in range(count):
            head = f'3\nLattice="{EDGE} 0 0 0 {EDGE} 0 0 0 {EDGE}" Properties=species:S:1:pos:R:3 pbc="T T T"\n'
            stream.write(head)
            for symbol, place in (("O", (0, 0, 0.1)), ("H", (0.76, 0, 0.69)), ("H", (-0.76, 0, 0.69))):
                x, y, z = (p + draw.gauss(0, 0.05) for p in place)
                stream.write(f"{symbol} {x:.10f} {y:.10f} {z:.10f}\n")
    return path


class Work:
    """The three ways to the labels of one file, each returning them with the seconds that it took."""

    def __init__(self, folder: Path, frames: Path, guess: str) -> None:
        import ase.io

        self._folder, self._frames, self._guess = folder, frames, guess
        self._atoms = ase.io.read(frames, ":")
        (folder / "cp2k.inp").write_text(TEMPLATE.format(guess=guess, subsys="", print=""))

    def psiflow(self, workers: int) -> tuple[float, list[Label]]:
        """`psiflow label`, from nothing to the output."""
        import ase.io
        from ase.units import Bohr, Hartree

        output = self._folder / "out.xyz"
        shutil.rmtree(f"{output}.run", ignore_errors=True)
        output.unlink(missing_ok=True)
        (self._folder / "site.toml").write_text(SITE.format(workers=workers))
        site = ["--site", str(self._folder / "site.toml"), "-o", str(output)]
        method = ["--reference", "cp2k", "--input", str(self._folder / "cp2k.inp")]
        took = seconds([water.PSIFLOW, "label", str(self._frames), *method, *site])
        done = ase.io.read(output, ":")
        return took, [(a.get_potential_energy() / Hartree, a.get_forces() * Bohr / Hartree) for a in done]

    def mpirun(self) -> tuple[float, list[Label]]:
        """A fresh process for each frame."""
        start, labels = time.perf_counter(), []
        for atoms in self._atoms:
            rows = "\n".join(f"{s} {x!r} {y!r} {z!r}" for s, (x, y, z) in _places(atoms))
            subsys = f"\n&CELL\nABC {EDGE} {EDGE} {EDGE}\n&END CELL\n&COORD\n{rows}\n&END COORD"
            with tempfile.TemporaryDirectory(dir=self._folder) as name:
                text = ALONE + TEMPLATE.format(guess=self._guess, subsys=subsys, print=PRINT)
                Path(name, "water.inp").write_text(text)
                command = ["mpirun", "-n", "1", "cp2k.psmp", "-i", "water.inp", "-o", "water.out"]
                subprocess.run(command, cwd=name, check=True, capture_output=True)
                log = Path(name, "water.out").read_text()
            assert "SCF run NOT converged" not in log
            block = log[log.index("ATOMIC FORCES in") :].splitlines()[3 : 3 + len(atoms)]
            forces = [[float(x) for x in line.split()[3:6]] for line in block]
            labels.append((float(re.search(r"ENERGY\| Total FORCE_EVAL .*?:\s+(\S+)", log)[1]), forces))
        return time.perf_counter() - start, labels

    def ase(self) -> tuple[float, list[Label]]:
        """ASE's calculator in a process of its own, as a script would use it."""
        script = Path(__file__).with_name("cp2k_with_ase.py")
        template = self._folder / "ase.inp"
        template.write_text(TEMPLATE.format(guess=self._guess, subsys="", print=""))
        with tempfile.TemporaryDirectory(dir=self._folder) as name:
            start = time.perf_counter()
            command = [sys.executable, str(script), str(self._frames), str(template)]
            done = subprocess.run(command, cwd=name, check=True, capture_output=True, text=True)
            took = time.perf_counter() - start
        import json

        return took, [(energy, forces) for energy, forces in json.loads(done.stdout.splitlines()[-1])]


def _places(atoms: Any) -> Iterator[tuple[str, list[float]]]:
    return zip(atoms.get_chemical_symbols(), atoms.positions.tolist(), strict=True)


def differ(ours: list[Label], theirs: list[Label]) -> tuple[float, float]:
    """The largest difference in energy (Ha) and force (Ha/bohr)."""
    assert len(ours) == len(theirs)
    energies = [abs(a - b) for (a, _), (b, _) in zip(ours, theirs, strict=True)]
    forces = [
        abs(x - y)
        for (_, a), (_, b) in zip(ours, theirs, strict=True)
        for p, q in zip(a, b, strict=True)
        for x, y in zip(p, q, strict=True)
    ]
    return max(energies), max(forces)


def measure(folder: Path, count: int, guess: str, repeats: int) -> None:
    """One guess: each way in turn, the first turn dropped."""
    work = Work(folder, waters(folder / "waters.xyz", count), guess)
    one, two, alone, ase, idle = [], [], [], [], []
    for turn in range(repeats + 1):
        results = [work.psiflow(1), work.psiflow(2), work.mpirun(), work.ase()]
        start = seconds(
            [water.PSIFLOW, "label", str(folder / "waters.xyz"), "--reference", water.NOOP, *_fresh(folder)]
        )
        for name, (_, labels) in zip(("mpirun", "ASE"), results[2:], strict=True):
            for ours in results[:2]:
                energy, force = differ(ours[1], labels)
                assert energy < 1e-6, f"energies differ from those of {name} by {energy:.2g} Ha"
                assert force < 1e-4, f"forces differ from those of {name} by {force:.2g} Ha/bohr"
            if turn == 0:
                print(f"{guess}: largest difference from {name}: {energy:.1e} Ha, {force:.1e} Ha/bohr")
        if turn:
            for kept, value in zip((one, two, alone, ase, idle), (*(r[0] for r in results), start), strict=True):
                kept.append(value)
    goal = {"RESTART": ">= 2.2", "ATOMIC": ">= 1.25"}[guess]
    what = f"P4 {count} waters, {guess}, times the rate of"
    # the rate is the inverse of the time: theirs over ours
    ratio(f"{what} mpirun for each, s", [*zip(alone, one, strict=True)], goal)
    ratio(f"{what} mpirun for each, without our start, s", [*_without(alone, one, idle)], goal)
    ratio(f"{what} ASE, s", [*zip(ase, one, strict=True)], ">= 0.95")
    ratio(f"{what} ASE, without our start, s", [*_without(ase, one, idle)], ">= 0.95")
    ratio(f"{what} ASE, two workers, s", [*zip(ase, two, strict=True)], ">= 1.7")
    ratio(f"{what} ASE, two workers, without our start, s", [*_without(ase, two, idle)], ">= 1.7")


def _without(theirs: list[float], ours: list[float], start: list[float]) -> list[tuple[float, float]]:
    return [(a, b - c) for a, b, c in zip(theirs, ours, start, strict=True)]


def _fresh(folder: Path) -> list[str]:
    shutil.rmtree(folder / "noop.xyz.run", ignore_errors=True)
    (folder / "noop.xyz").unlink(missing_ok=True)
    return ["-o", str(folder / "noop.xyz")]


def main(full: bool = False) -> None:
    """Both guesses; with `full` more waters and more turns."""
    if not shutil.which("cp2k.psmp") or not shutil.which("mpirun"):
        print("P4: no cp2k.psmp or no mpirun: not measured")
        return
    for guess in ("RESTART", "ATOMIC"):
        with tempfile.TemporaryDirectory() as name:
            measure(Path(name), 24 if full else 12, guess, 5 if full else 3)


if __name__ == "__main__":
    main("--full" in sys.argv)
