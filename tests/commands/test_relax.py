"""psiflow relax: the model's own minimum, what is kept and what is new in the frames, failures, and running again."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import warm
from tests.commands import springs
from tests.commands.inputs import BOX, WATER

np = pytest.importorskip("numpy")
ase_io = pytest.importorskip("ase.io", reason="the frames are read with ase")

STRETCHED = """3
Lattice="9 0 0 0 9 0 0 0 9" Properties=species:S:1:pos:R:3:forces:R:3{} energy=-3.0 name={} pbc="T T T"
O 0.0 0.0 0.3 1 2 3 {}
H 1.16 0.0 0.0 1 2 3 {}
H -0.24 0.93 -0.2 1 2 3 {}
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a model that costs nothing, and a site that begins at once."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PSIFLOW_SITE", raising=False)
    springs.bundle(Path("springs.model"))
    Path("threads.toml").write_text(springs.SITE)


def relax(*arguments, code=0):
    words = [springs.__file__, "relax", *map(str, arguments)]
    words += ["--model", "springs.model", "--site", "threads.toml"]
    done = warm.server().run(words)
    assert done.returncode == code, f"exit {done.returncode}, not {code}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done


def plain(name):
    return STRETCHED.format("", name, "", "", "")


def test_a_trained_model_is_at_its_minimum(psiflow_mace, trained):
    from ase.optimize import LBFGS
    from mace.calculators import MACECalculator

    Path("start.xyz").write_text(WATER + BOX)
    psiflow_mace("relax", "start.xyz", "--model", trained.model, "--fmax", 0.02, "--steps", 15, "--max-failed", 1)
    path = str(Path(trained.model) / "member-0" / "mace.model")
    calculator = MACECalculator(model_paths=path, device="cpu", default_dtype="float64")
    starts, ends = (ase_io.read(name, ":") for name in ("start.xyz", "start.relaxed.xyz"))
    assert len(ends) == 2
    for start, end in zip(starts, ends, strict=True):
        start.calc = end.calc = calculator
        LBFGS(start, logfile=None).run(fmax=0.02, steps=15)
        assert end.positions == pytest.approx(start.positions, abs=1e-4)
        assert end.info["model_energy"] == pytest.approx(end.get_potential_energy(), abs=1e-6)
        assert end.arrays["model_forces"] == pytest.approx(end.get_forces(), abs=1e-6)
        assert end.info["max_force"] == pytest.approx(np.linalg.norm(end.get_forces(), axis=1).max(), abs=1e-6)
        assert end.info["relax_converged"] == (end.info["max_force"] < 0.02)
        assert ("model_stress" in end.info) == end.pbc.all()
    assert ends[0].info["relax_converged"]
    assert ends[0].info["relax_steps"] > 1


def test_what_is_of_the_old_geometry_goes_and_the_rest_stays(here):
    Path("start.xyz").write_text(plain("first") + plain("second"))
    said = json.loads(relax("start.xyz", "-o", "out.xyz", "--json").stdout)
    assert (said["total"], said["converged"], said["failed"], said["computed"]) == (2, 2, 0, 1), (
        "a structure that comes twice is relaxed once"
    )
    found = ase_io.read("out.xyz", ":")
    assert [atoms.info["name"] for atoms in found] == ["first", "second"]
    for atoms in found:
        assert atoms.positions == pytest.approx(np.array(springs.PLACES), abs=0.01 / 2.0)
        assert atoms.cell.lengths() == pytest.approx([9, 9, 9])
        assert atoms.calc is None, "the label of the old geometry stayed"
        assert atoms.info["relax_converged"] == np.True_
        assert atoms.info["model_energy"] < 1e-4
    assert not Path("out.failed.xyz").exists()
    assert "up to date" in relax("start.xyz", "-o", "out.xyz").stderr
    Path("start.xyz").write_text(plain("first") + plain("second") + plain("third").replace("0.3", "0.25"))
    said = json.loads(relax("start.xyz", "-o", "out.xyz", "--json").stdout)
    assert (said["total"], said["computed"]) == (3, 1)


def test_fixed_atoms_of_the_frame_and_of_the_command(here):
    Path("start.xyz").write_text(plain("free") + STRETCHED.format(":move_mask:L:1", "held", "F", "T", "T"))
    said = json.loads(relax("start.xyz", "--fixed", "1", "--json").stdout)
    assert said["computed"] == 2, "frames that differ in their fixed atoms alone are two"
    free, held = ase_io.read("start.relaxed.xyz", ":")
    assert free.positions[1].tolist() == held.positions[1].tolist() == [1.16, 0, 0]
    assert free.positions[0] == pytest.approx([0, 0, 0], abs=0.01)
    assert held.positions[0].tolist() == [0, 0, 0.3]
    assert held.info["max_force"] < 0.01


def test_frames_that_do_not_converge_are_there_and_count_as_failed(here):
    Path("start.xyz").write_text(plain("first") + plain("bad").replace("H 1.16", "H 0.02").replace("0.3", "0.0"))
    done = relax("start.xyz", "--steps", 1, code=1)
    assert "2 of 2 failed: 1 invalid-input, 1 unconverged -> start.relaxed.failed.xyz" in done.stderr
    (far,) = ase_io.read("start.relaxed.xyz", ":")
    assert (far.info["name"], far.info["relax_converged"], far.info["relax_steps"]) == ("first", np.False_, 1)
    (bad,) = ase_io.read("start.relaxed.failed.xyz", ":")
    assert (bad.info["name"], bad.info["failure"]) == ("bad", "invalid-input")
    assert bad.get_potential_energy() == -3.0, "a frame that failed stays as it came"
    assert "up to date" in relax("start.xyz", "--steps", 1, code=1).stderr
    Path("start.xyz").write_text(plain("first"))
    relax("start.xyz", "--steps", 1, "--max-failed", 1)
    assert not Path("start.relaxed.failed.xyz").exists()
    relax("start.relaxed.xyz", "-o", "further.xyz")
    assert ase_io.read("further.xyz").info["relax_converged"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--cell", "flexible"), 65, "mixed.xyz:6: frame 2: not periodic in three directions, but --cell flexible"),
        (("--keep-symmetry",), 65, "mixed.xyz:6: frame 2: not periodic in three directions, but --keep-symmetry"),
        (("--pressure", "100"), 2, "--pressure has no effect: the volume is fixed"),
        (("--fixed", "0-2"), 65, "mixed.xyz:1: frame 1: all of its atoms are fixed"),
        (("--fixed", "3"), 2, "mixed.xyz:1: frame 1: there is no atom 3 to fix"),
        (("--fixed", "1-"), 2, "'1-' is neither an atom"),
    ],
)
def test_what_cannot_be_asked(here, arguments, code, said):
    Path("mixed.xyz").write_text(plain("first") + WATER)
    assert said in relax("mixed.xyz", *arguments, code=code).stderr
    assert not Path("mixed.relaxed.xyz").exists()


def test_killed_and_gone_on_gives_the_same_bytes(here):
    shifts = [round(0.1 + 0.001 * n, 3) for n in range(150)]
    Path("start.xyz").write_text("".join(plain(n).replace("0.3", str(x)) for n, x in enumerate(shifts)))
    words = [
        sys.executable,
        springs.__file__,
        "relax",
        "start.xyz",
        "--model",
        "springs.model",
        "--site",
        "threads.toml",
    ]
    process = subprocess.Popen([*words, "--fmax", "1e-6", "-o", "killed.xyz"], stderr=subprocess.DEVNULL)
    journal, deadline = Path("killed.xyz.run/journal.jsonl"), time.monotonic() + 60
    while not journal.exists() or '"kind":"unit"' not in journal.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    ended = journal.read_text().count('"kind":"unit"')
    again = json.loads(relax("start.xyz", "--fmax", "1e-6", "-o", "killed.xyz", "--json").stdout)
    assert 0 < again["computed"] <= 150 - ended
    relax("start.xyz", "--fmax", "1e-6", "-o", "whole.xyz")
    assert Path("killed.xyz").read_bytes() == Path("whole.xyz").read_bytes()
