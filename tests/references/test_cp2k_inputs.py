"""Production inputs as users write them: accepted as they are, read by CP2K, computed, and equal to what they say."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from psiflow_cli.references import cp2k
from psiflow_cli.references.cp2k import preprocess, template
from psiflow_cli.references.cp2k.single_point import build
from psiflow_cli.worker.failures import Fatal
from tests.references import cp2k_log

CP2K = shutil.which("cp2k.psmp")
pytestmark = pytest.mark.skipif(CP2K is None, reason="cp2k.psmp is not installed")
INPUTS = Path(__file__).parent / "cp2k_inputs"
NAMES = sorted(path.stem for path in INPUTS.glob("*.inp"))

WATER = (["O", "H", "H"], [[0.0, 0.0, 0.1], [0.76, 0.0, 0.6], [-0.77, 0.05, 0.57]])
NICKEL_OXIDE = (
    ["Ni"] * 4 + ["O"] * 4,
    [[0, 0, 0], [2.1, 2.1, 0], [2.1, 0, 2.1], [0, 2.1, 2.1], [2.1, 2.1, 2.1], [0, 0, 2.1], [0, 2.1, 0], [2.1, 0, 0]],
)


FCC = [[0.0, 2.7, 2.7], [2.7, 0.0, 2.7], [2.7, 2.7, 0.0]]


def cube(edge: float) -> list[list[float]]:
    return [[edge if i == j else 0.0 for j in range(3)] for i in range(3)]


FRAMES: dict[str, tuple[list[str], list[list[float]], list[list[float]] | None]] = {
    "antiferromagnet-dft-u": (*NICKEL_OXIDE, cube(4.2)),
    "blyp-d3-npt-labels": (*WATER, cube(5.0)),
    "dftb-scc": (*WATER, cube(8.0)),
    "driver-revpbe-d3": (*WATER, cube(5.0)),
    "field-and-restraint": (*WATER, cube(5.0)),
    "from-a-restart-file": (*WATER, cube(6.0)),
    "gapw-all-electron": (*WATER, None),
    "hse06-mixed-case": (*WATER, cube(5.0)),
    "iron-uks-smearing-kpoints": (["Fe"] * 2, [[0, 0, 0], [1.45, 1.43, 1.43]], cube(2.8665)),
    "pbe0-admm-md": (*WATER, cube(5.0)),
    "r2scan-libxc": (*WATER, cube(5.0)),
    "radical-outer-scf": (*WATER, None),
    "silicon-kpoints-scan": (["Si"] * 2, [[0, 0, 0], [1.36, 1.37, 1.37]], FCC),
    "switches": (*WATER, cube(5.0)),
    "xtb-md": (*WATER, cube(8.0)),
}
STATES = {"radical-outer-scf": {"charge": 1, "multiplicity": 2}}
COMPUTED = (
    "driver-revpbe-d3",
    "dftb-scc",
    "field-and-restraint",
    "from-a-restart-file",
    "silicon-kpoints-scan",
    "switches",
)
"""Those that are soon computed, and unlike each other; the others are with --full."""
NOT_RUN = ("antiferromagnet-dft-u",)


def frame_for(name: str) -> dict[str, Any]:
    symbols, positions, cell = FRAMES[name]
    structure = {"symbols": symbols, "positions": positions, "cell": cell, "pbc": [cell is not None] * 3}
    return {"id": "0123456789abcdef", **structure, **STATES.get(name, {})}


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run([str(CP2K), *arguments], cwd=folder, env=env, capture_output=True, text=True)


@pytest.mark.parametrize("name", NAMES)
def test_is_accepted_as_it_is_and_renders_to_what_cp2k_reads(name: str, tmp_path: Path) -> None:
    frame = frame_for(name)
    settings = cp2k.settings(INPUTS / f"{name}.inp", {})
    cp2k.check(settings, set(frame["symbols"]))
    text, _ = build(frame, settings)
    (tmp_path / "x.inp").write_text(text)
    done = run(tmp_path, "--check", "x.inp")
    assert "SUCCESS, the input could be parsed correctly" in done.stdout, done.stdout
    for gone in ("&MOTION", "&TOPOLOGY", "&EXT_RESTART", "&VELOCITY", "WFN_RESTART_FILE_NAME", "&COLVAR", "&RNG_INIT"):
        assert gone not in text
    assert text.count("&COORD") == 1
    assert json.loads(json.dumps(settings)) == settings


@pytest.mark.parametrize("name", [n for n in NAMES if n != "antiferromagnet-dft-u"])
def test_means_what_cp2k_takes_it_for(name: str, tmp_path: Path) -> None:
    """CP2K's echo, with every default spelled out, of the user's text and of ours from it is the same."""
    folder = shutil.copytree(INPUTS, tmp_path / "in")
    text = preprocess.read(folder / f"{name}.inp")
    (folder / "theirs.inp").write_text(re.sub(r"&EXT_RESTART[\s\S]*?&END EXT_RESTART", "", text))
    root = template.parse(text, name, preprocess.Preprocessor(folder))
    root.drop("EXT_RESTART")  # its file is not there, and CP2K reads it at once
    (folder / "ours.inp").write_text(root.render())
    ours, theirs = (_echoed(run(folder, "-e", f"{whose}.inp").stdout) for whose in ("ours", "theirs"))
    assert len(ours) > 100
    assert ours == theirs


def _echoed(log: str) -> list[str]:
    """The lines of an echo that say something of the method; where CP2K writes its files, the name may differ."""
    log = re.sub(r"&(COORD|RNG_INIT)\b[\s\S]*?&END \1", "", log)
    lines = [" ".join(line.split("!")[0].split()) for line in log.splitlines()]
    return [line for line in lines if line and not line.startswith(("FILENAME", "INPP_@PRINT", "@PRINT"))]


def full(names: list[str]) -> list[Any]:
    return [n if n in COMPUTED else pytest.param(n, marks=pytest.mark.full) for n in names if n not in NOT_RUN]


def computed(frame: Any, path: Path, context: Any) -> Any:
    """The label, from a CP2K that is complete: Debian's 2025.1 comes without the parameters of GFN1-xTB."""
    try:
        return cp2k.label([frame], cp2k.settings(path, {}), context)[0]
    except Fatal as fatal:
        if "does not find its own file xTB_parameters" in str(fatal):
            pytest.skip(str(fatal))
        raise


@pytest.mark.parametrize("name", full(NAMES))
def test_is_computed(name: str, context: Any) -> None:
    pytest.importorskip("ase", reason="ASE is not installed")
    frame = frame_for(name)
    label = computed(frame, INPUTS / f"{name}.inp", context())
    assert "failure" not in label, label
    assert label["energy"] < 0
    periodic = all(frame["pbc"]) and name != "field-and-restraint"  # CP2K has no stress in a field
    assert (label["stress"] is not None) is periodic


@pytest.mark.full
def test_equals_a_run_of_the_users_input_by_hand(tmp_path: Path, context: Any) -> None:
    """This one has coordinates of its own, in bohr, and can be run as it is."""
    from ase.units import Bohr, Hartree

    shutil.copy(INPUTS / "r2scan-libxc.inp", tmp_path)
    done = run(tmp_path, "r2scan-libxc.inp")
    assert "SCF run converged" in done.stdout
    positions = [[0.0, 0.0, 0.2], [1.43, 0.0, 1.1], [-1.43, 0.0, 1.1]]
    structure = {"symbols": ["O", "H", "H"], "positions": [[x * Bohr for x in row] for row in positions]}
    frame = {**frame_for("r2scan-libxc"), **structure, "cell": cube(12 * Bohr)}
    (label,) = cp2k.label([frame], cp2k.settings(INPUTS / "r2scan-libxc.inp", {}), context())
    assert label["energy"] / Hartree == pytest.approx(cp2k_log.energy(done.stdout), abs=1e-7)


@pytest.mark.parametrize("name", ["xtb-md", "dftb-scc"])
def test_tight_binding_of_a_molecule_needs_no_lattice_sums(name: str, tmp_path: Path, context: Any) -> None:
    """The template is for a box of liquid; a molecule has the energy that it has without Ewald sums."""
    text = (INPUTS / f"{name}.inp").read_text()
    (tmp_path / "open.inp").write_text(re.sub(r"(?i)(do_ewald +)t", r"\1F", text))
    frame = {**frame_for(name), "cell": None, "pbc": [False] * 3}
    labels = [computed(frame, path, context()) for path in (INPUTS / f"{name}.inp", tmp_path / "open.inp")]
    assert labels[0]["energy"] < 0
    assert labels[0] == labels[1]
