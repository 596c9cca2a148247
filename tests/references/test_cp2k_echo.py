"""Templates made at random: CP2K lists the same kinds and molecules for one as it is and for what we make of it.

CP2K itself is asked, which knows nothing of our reading: with RUN_TYPE NONE it sets everything up, lists it and ends.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from psiflow_cli.errors import BadData
from psiflow_cli.references import cp2k
from psiflow_cli.references.cp2k.single_point import build

CP2K = shutil.which("cp2k.psmp")
pytestmark = pytest.mark.skipif(CP2K is None, reason="cp2k.psmp is not installed")
BASES = {
    "H": ["SZV-MOLOPT-SR-GTH", "DZVP-MOLOPT-SR-GTH", "DZVP-MOLOPT-GTH", "TZVP-MOLOPT-GTH"],
    "O": ["SZV-MOLOPT-SR-GTH", "DZVP-MOLOPT-SR-GTH", "DZVP-MOLOPT-GTH", "TZVP-MOLOPT-GTH"],
    "C": ["SZV-MOLOPT-SR-GTH", "DZVP-MOLOPT-SR-GTH", "DZVP-MOLOPT-GTH"],
    "Si": ["SZV-MOLOPT-SR-GTH", "DZVP-MOLOPT-SR-GTH"],
}
MAIN = """\
&GLOBAL
  RUN_TYPE NONE
&END
&FORCE_EVAL
  METHOD QS
  &DFT
    BASIS_SET_FILE_NAME BASIS_MOLOPT
    POTENTIAL_FILE_NAME GTH_POTENTIALS
    CHARGE {charge}
    {method}
    &MGRID
      CUTOFF 50
    &END
    &XC
      &XC_FUNCTIONAL PADE
      &END
    &END
  &END DFT
  &SUBSYS
    &CELL
      ABC 8 8 8
    &END
{parts}
  &END
&END
"""
KIM_GORDON = """\
&KG_METHOD
      TNADD_METHOD EMBEDDING
      &XC
        &XC_FUNCTIONAL
          &KE_GGA
            FUNCTIONAL T92
          &END
        &END
      &END
    &END
    &QS
      KG_METHOD
    &END"""


@dataclass
class Made:
    """A template, and the frame that its own atoms are."""

    text: str
    symbols: list[str]
    positions: list[list[float]]


def made(chance: random.Random, ghost: bool = False) -> Made:
    """Up to three kinds of an element with names of every sort, and atoms that use them."""
    kinds: list[str] = []
    labels: dict[str, list[str]] = {}
    for element in chance.sample(sorted(BASES), 2):
        names = chance.sample([element, f"{element}{chance.randint(1, 30)}", f"{element}_a", f"q{element}x"], 3)
        names = names[: chance.randint(1, 3)]
        for name, basis in zip(names, chance.sample(BASES[element], 2) * 2, strict=False):
            stated = f"      ELEMENT {element.lower()}\n" if name.startswith("q") or chance.random() < 0.3 else ""
            rows = f"{stated}      BASIS_SET {basis}\n      POTENTIAL GTH-PADE\n"
            kinds.append(f"    &KIND {spelt(chance, name)}\n{rows}    &END\n")
        others = [f"{element}31", f"{element}_z"] if element in names else []
        labels[element] = [spelt(chance, name) for name in (*names, *others)]
    if ghost:
        kinds.append("    &KIND H_ghost\n      GHOST\n      BASIS_SET DZVP-MOLOPT-GTH\n    &END\n")
    symbols = chance.choices(sorted(labels), k=6)
    positions = [[1.5 * (i % 3) + 1.0, 1.7 * (i // 3) + 1.0, 0.2 * i] for i in range(len(symbols))]
    molecular = chance.random() < 0.5
    atoms = [chance.choice(labels[symbol]) for symbol in symbols]
    columns = [" " + chance.choice("AB") if molecular else "" for _ in symbols]
    rows = "".join(
        f"      {a} {' '.join(map(repr, row))}{c}\n" for a, row, c in zip(atoms, positions, columns, strict=True)
    )
    if ghost:
        rows += "      h_GHOST 5 5 5\n"
    chance.shuffle(kinds)
    connectivity = "    &TOPOLOGY\n      CONNECTIVITY USER\n    &END\n" if molecular else ""
    parts = [f"    &COORD\n{rows}    &END\n", *kinds, connectivity]
    chance.shuffle(parts)
    electrons = sum({"H": 1, "O": 6, "C": 4, "Si": 4}[symbol] for symbol in symbols)
    text = MAIN.format(charge=electrons % 2, method=KIM_GORDON if molecular else "", parts="".join(parts))
    return Made(text, symbols, positions)


def spelt(chance: random.Random, name: str) -> str:
    return chance.choice([name, name.upper(), name.lower()])


def listed(folder: Path, text: str) -> tuple[list[tuple[str, str]], list[str]]:
    """The element and the basis set of each atom, and the lines about molecules, from CP2K's log."""
    (folder / "x.inp").write_text(text)
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    log = subprocess.run([str(CP2K), "x.inp"], cwd=folder, env=env, capture_output=True, text=True).stdout
    assert "PROGRAM ENDED AT" in log, log[-3000:]
    bases = dict(re.findall(r"^ +(\d+)\. Atomic kind: [\s\S]*?Orbital Basis Set +(\S+)", log, re.M))
    rows = re.findall(r"^ +\d+ +(\d+) ([A-Za-z]{1,2}) +\d+(?: +-?\d+\.\d+){5}$", log, re.M)
    molecules = log.split("MOLECULE KIND INFORMATION")[1].split("TOTAL NUMBERS AND MAXIMUM NUMBERS")[0]
    return [(element.capitalize(), bases[kind]) for kind, element in rows], molecules.upper().split("\n")


SEEDS = [pytest.param(seed, marks=pytest.mark.full) if seed > 6 else seed for seed in range(1, 61)]


@pytest.mark.parametrize("seed", SEEDS)
def test_the_atoms_are_what_cp2k_makes_of_the_template(seed: int, tmp_path: Path) -> None:
    own = made(random.Random(seed))
    (tmp_path / "cp2k.inp").write_text(own.text)
    settings = cp2k.settings(tmp_path / "cp2k.inp", {})
    cp2k.check(settings, set(own.symbols))
    cell = [[8.0 if i == j else 0.0 for j in range(3)] for i in range(3)]
    frame: Any = {"id": "", "symbols": own.symbols, "positions": own.positions, "cell": cell, "pbc": [True] * 3}
    ours, _ = build(frame, settings)
    theirs = listed(tmp_path, own.text)
    assert len(theirs[0]) == len(own.symbols)
    assert listed(tmp_path, ours.replace("RUN_TYPE ENERGY_FORCE", "RUN_TYPE NONE")) == theirs


@pytest.mark.parametrize("seed", range(5))
def test_ghosts_are_refused(seed: int, tmp_path: Path) -> None:
    (tmp_path / "cp2k.inp").write_text(made(random.Random(seed), ghost=True).text)
    with pytest.raises(BadData, match=r"H_ghost is not an atom \(its &KIND has GHOST"):
        cp2k.settings(tmp_path / "cp2k.inp", {})
