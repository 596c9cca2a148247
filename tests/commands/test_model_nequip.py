"""NequIP and Allegro: compiled models are kept, used and noticed when stale; exports open in the framework itself."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from psiflow_cli import extxyz
from tests.commands.test_nequip import ATOMS, ENVIRONMENT, SITE, SIZE
from tests.commands.test_nequip import pytestmark as needs_environment

pytestmark = [needs_environment, pytest.mark.full, pytest.mark.timeout(1500)]

BOX = 'Lattice="8 0 0 0 8 0 0 0 8" pbc="T T T"'
HERE = ("--site", "site.toml")
FORCES = """
import sys
from ase.io import read
sys.path.insert(0, "model-ase")
from calculator import calculator
atoms = read("in.xyz", 0)
atoms.calc = calculator()
print(atoms.get_potential_energy(), *atoms.get_forces().ravel())
"""


def dimers(count: int) -> str:
    """Pairs of water molecules in a box.

    NequIP compiles with a frame of the data as its example, leaves two atoms out, and compares stresses.
    """
    molecule = ((0.0, 0.0, "O"), (0.9, 0.0, "H"), (-0.24, 0.93, "H"))
    return "".join(
        f"6\nProperties=species:S:1:pos:R:3:forces:R:3 energy={-314 + i / 100} {BOX}\n"
        + "".join(f"{s} {x + i / 100} {y} {z} 0.1 0 0\n" for z in (0.0, 3.0) for x, y, s in molecule)
        for i in range(count)
    )


def predictions(name: str) -> list[float]:
    """Energies and forces of all frames."""
    found = []
    for frame in extxyz.read(Path(name)):
        found += [frame.info["model_energy"], *(x for row in frame.column("model_forces") for x in row)]
    return found


@pytest.mark.parametrize("family", ["nequip", "allegro"])
def test_compile_use_and_export(psiflow, family):
    Path("site.toml").write_text(SITE)
    Path("in.xyz").write_text(dimers(6))
    Path("atoms.xyz").write_text(ATOMS)
    small = [word for pair in ("max_epochs=2", "batch_size=3", *SIZE[family]) for word in ("--set", pair)]
    psiflow("train", "in.xyz", "atoms.xyz", "--arch", family, *small, *HERE, "-o", "a.model")
    psiflow("evaluate", "in.xyz", "--model", "a.model", *HERE, "-o", "eager.xyz")
    assert "todo: 1" in psiflow("model", "compile", "a.model", *HERE, "--dry-run").stdout

    psiflow("model", "compile", "a.model", *HERE)
    kept = Path("a.model/member-0/compiled/cpu-ase.nequip.pt2")
    before = kept.stat().st_mtime_ns
    known = json.loads(kept.with_name("cpu-ase.json").read_text())
    assert (known["dtype"], known["elements"]) == ("float32", ["H", "O"])
    assert "up to date" in psiflow("model", "compile", "a.model", *HERE).stderr
    assert kept.stat().st_mtime_ns == before
    psiflow("model", "verify", "a.model")

    psiflow("evaluate", "in.xyz", "--model", "a.model", *HERE, "-o", "fast.xyz")
    eager, fast = predictions("eager.xyz"), predictions("fast.xyz")
    assert fast == pytest.approx(eager, rel=1e-6, abs=1e-5)
    assert fast != eager, "the compiled model was not used"
    md = ("sample", "in.xyz", "--ensemble", "nve", "--temperature", 50, "--steps", 2, "--every", 1, *HERE)
    psiflow(*md, "--model", "a.model", "-o", "md.xyz")

    psiflow("model", "export", "a.model", "--to", "nequip", *HERE, "-o", "b.nequip.zip")
    assert Path("b.nequip.zip").read_bytes() == Path("a.model/member-0/model.nequip.zip").read_bytes()
    psiflow("model", "export", "a.model", "--to", "ase", *HERE, "-o", "model-ase")
    argv = [str(ENVIRONMENT / "bin" / "python"), "-c", FORCES]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    by_hand = [float(word) for word in done.stdout.split()]
    assert fast[: len(by_hand)] == pytest.approx(by_hand, rel=1e-6, abs=1e-5)

    kept.write_bytes(kept.read_bytes()[:-1])
    assert "cpu-ase" in psiflow("model", "verify", "a.model", code=65).stderr
    shutil.rmtree("fast.xyz.run")
    Path("fast.xyz").unlink()
    psiflow("evaluate", "in.xyz", "--model", "a.model", *HERE, "-o", "fast.xyz")
    assert predictions("fast.xyz") == eager, "a compiled model that was changed is not run"
