"""psiflow sample under PLUMED as its user sees it: what it says of an input, and the files that come out."""

from __future__ import annotations

import contextlib
import math
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests import warm
from tests.commands import springs

ase_io = pytest.importorskip("ase.io", reason="the frames are read with ase")
pytest.importorskip("ase.md.langevinbaoab", reason="needs ASE 3.27 or later")
needs_kernel = pytest.mark.skipif(
    not os.environ.get("PLUMED_KERNEL"), reason="PLUMED_KERNEL does not name PLUMED's library, which is in no registry"
)
METAD = """UNITS LENGTH=A ENERGY=eV TIME=fs
d: DISTANCE ATOMS=1,2
m: METAD ARG=d PACE=20 SIGMA=0.1 HEIGHT=0.01 BIASFACTOR=10 TEMP=300
PRINT ARG=d,m.bias FILE=COLVAR STRIDE=10
"""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PSIFLOW_SITE", raising=False)
    springs.bundle(Path("springs.model"))
    Path("start.xyz").write_text(springs.START)
    Path("threads.toml").write_text(springs.SITE)
    Path("metad.dat").write_text(METAD)


def sample(*arguments, code=0):
    pytest.importorskip("plumed")
    words = [springs.__file__, "sample", "start.xyz", "--model", "springs.model", "--site", "threads.toml"]
    done = warm.server().run([*words, "--engine", "ase", *map(str, arguments)], "")
    assert done.returncode == code, f"exit {done.returncode}, not {code}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done.stderr


def numbers(path):
    """(walker, time, value) of each line of a file of PLUMED's."""
    walker, found = None, []
    for line in Path(path).read_text().splitlines():
        if line.startswith("#! SET walker "):
            walker = int(line.split()[-1])
        elif not line.startswith("#"):
            found.append((walker, *map(float, line.split()[:2])))
    return found


@needs_kernel
@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "d: DISTANCE ATOMS=1,2\nRESTRAINT ...\n  ARG=d AT=1\n  KAPA=3\n...\n",
            "bad.dat:2: RESTRAINT: cannot understand",
        ),
        ("INCLUDE FILE=more.dat\n", "more.dat:2: DISTNACE: PLUMED has no such action"),
        ("d: DISTANCE ATOMS=1,12\n", "bad.dat:1: DISTANCE: atom 12 out of range"),
        ("DISTANCE ATOMS=1,2\nDISTANCE ATOMS=0,1\n", "bad.dat:2: DISTANCE: "),
        ("UNITS LENGTH=Ang\nDISTANCE ATOMS=1,2\n", "bad.dat:1: UNITS: "),
        ("DISTANCE ATOMS=1,2\nDISTANCE ATOMS=1\n", "bad.dat:2: DISTANCE: Number of specified atoms"),
    ],
)
def test_plumed_reads_the_input_first(text, problem):
    Path("bad.dat").write_text(text)
    Path("more.dat").write_text("d: DISTANCE ATOMS=1,2\nDISTNACE ATOMS=1,2\n")
    assert problem in sample("--plumed", "bad.dat", "--dry-run", "-o", "a.xyz", code=65)
    assert not Path("a.xyz.run").exists()


@needs_kernel
def test_what_seems_odd_is_noted_and_what_fails_later_is_explained():
    Path("odd.dat").write_text(METAD.replace("TEMP=300", "TEMP=500 GRID_MIN=0.8 GRID_MAX=0.9"))
    said = sample("--plumed", "odd.dat", "--steps", 5, "--every", 10, "--temperature", 300, "--dry-run", "-o", "a.xyz")
    assert "warning: odd.dat:3: METAD has TEMP=500, but --temperature is 300" in said
    assert "no frame will be recorded: --every 10 is more than --steps 5" in said
    said = sample("--plumed", "odd.dat", "--steps", 500, "--temperature", 500, "-o", "b.xyz", code=1)
    assert "An error happened while calculating m: Looking for a value outside the grid" in said


@needs_kernel
def test_what_comes_out(monkeypatch):
    """Values in frames and columns are those of COLVAR; hills go on from hills; a missing kernel is named."""
    run = ("--plumed", "metad.dat", "--steps", 200, "--every", 20, "--seed", 3)
    said = sample(*run, "--walkers", 2, "-o", "one.xyz", "--properties", "one.csv")
    assert "one.colvar, one.hills" in said
    frames = ase_io.read("one.xyz", ":")
    printed = {(walker, time): d for walker, time, d in numbers("one.colvar")}
    for frame in frames:
        info = frame.info
        assert info["plumed_d"] == pytest.approx(printed[info["walker"], info["time"]], abs=1e-6)
        assert info["plumed_d"] == pytest.approx(frame.get_distance(0, 1, mic=True), abs=1e-9)
        assert info["plumed_m.bias"] == pytest.approx(info["bias_energy"], abs=1e-8)
    assert "plumed_d,plumed_m.bias" in Path("one.csv").read_text().splitlines()[0]
    times = [(walker, 10.0 * n) for walker in (0, 1) for n in range(1, 11)]
    assert [each[:2] for each in numbers("one.hills")] == times
    assert "hills of 2 walkers" in sample(*run, "--hills", "one.hills", "-o", "two.xyz", code=65)
    first = "#! SET walker".join(Path("one.hills").read_text().split("#! SET walker")[:2]).rpartition("#! FIELDS")[0]
    Path("one.hills").write_text(first)
    Path("eV.dat").write_text(METAD.replace("ENERGY=eV ", ""))
    assert "energies in units of 1 eV" in sample("--plumed", "eV.dat", "--hills", "one.hills", "-o", "x.xyz", code=65)
    sample(*run, "--hills", "one.hills", "-o", "two.xyz")
    assert [each[2:] for each in numbers("two.hills")][:10] == [each[2:] for each in numbers("one.hills")]
    assert [time for _, time, _ in numbers("two.hills")] == [10.0 * n for n in range(-9, 11)]
    assert len(numbers("two.hills")) == 20
    _, d, bias = map(float, Path("two.colvar").read_text().splitlines()[4].split())
    rows = [map(float, line.split()) for line in Path("one.hills").read_text().splitlines() if line[0] != "#"]
    expected = sum(0.9 * height * math.exp(-0.5 * ((d - at) / sigma) ** 2) for _, at, sigma, height, _ in rows)
    assert bias == pytest.approx(expected, rel=0.02)  # PLUMED's Gaussians are stretched to end at zero
    monkeypatch.setenv("PLUMED_KERNEL", "/nowhere/libplumedKernel.so")
    assert "PLUMED's library does not load" in sample(*run, "--dry-run", "-o", "three.xyz", code=78)


@needs_kernel
@pytest.mark.parametrize("earlier", ["alone", "shared"])
@pytest.mark.parametrize("later", ["alone", "shared"])
def test_hills_go_on_from_those_of_walkers_that_shared_a_bias_or_not(earlier, later):
    run = ("--plumed", "metad.dat", "--steps", 100, "--every", 20, "--seed", 3)
    walkers = {"alone": (), "shared": ("--walkers", 2, "--share-bias")}
    sample(*run, *walkers[earlier], "-o", "one.xyz")
    sample(*run, *walkers[later], "--hills", "one.hills", "--final", "two.final.xyz", "-o", "two.xyz")
    again = (*walkers[later], "--continue", "two.final.xyz", "-o", "three.xyz")
    assert "not the bias: metad.dat:3: METAD starts from zero; --hills" in sample(*run, *again, "--dry-run")
    assert "not the bias" not in sample(*run, *again, "--hills", "two.hills")
    before = [row[2] for row in sorted(numbers("one.hills"), key=lambda row: row[1])]
    assert [row[2] for row in numbers("two.hills")][: len(before)] == before
    for name in ("two", "three"):
        times = [time for walker, time, _ in numbers(f"{name}.hills") if walker == 0]
        assert times == sorted(times)
        words = ("free-energy", f"{name}.hills", "--temperature", "300", "--site", "threads.toml", "-o", f"{name}.csv")
        done = warm.server().run([springs.__file__, *words], "")
        assert f"psiflow: {len(numbers(f'{name}.hills'))} hills of" in done.stderr, done.stderr


@needs_kernel
def test_walkers_that_share_a_bias():
    """Each has its hills once; the last walker, which moves when the others have, feels theirs from the beginning."""
    run = ("--plumed", "metad.dat", "--steps", 200, "--every", 20, "--seed", 3, "--walkers", 3)
    sample(*run, "--share-bias", "-o", "shared.xyz")
    sample(*run, "-o", "alone.xyz")
    times = [(walker, 10.0 * n) for walker in (0, 1, 2) for n in range(1, 11)]
    assert [each[:2] for each in numbers("shared.hills")] == [each[:2] for each in numbers("alone.hills")] == times
    biases = {name: [f.info["bias_energy"] for f in ase_io.read(f"{name}.xyz", "16:")] for name in ("shared", "alone")}
    assert sum(biases["shared"]) > 2 * sum(biases["alone"])


def test_what_cannot_share_or_go_on(monkeypatch):
    monkeypatch.setitem(sys.modules, "plumed", ModuleType("plumed"))  # it is not asked
    Path("opes.dat").write_text("d: DISTANCE ATOMS=1,2\no: OPES_METAD ARG=d PACE=10 BARRIER=1\n")
    Path("own.dat").write_text(METAD.replace("PACE=20", "PACE=20 WALKERS_N=2 WALKERS_ID=0"))
    Path("d.dat").write_text("d: DISTANCE ATOMS=1,2\n")
    for input_file, options, code, problem in (
        ("opes.dat", ("--share-bias",), 2, "opes.dat:2: OPES_METAD can be shared only within one MPI run"),
        ("d.dat", ("--share-bias",), 2, "d.dat has no METAD or PBMETAD"),
        ("opes.dat", ("--hills", "start.xyz"), 2, "--hills needs an input with exactly one METAD"),
        ("metad.dat", ("--hills", "start.xyz"), 65, "start.xyz:1: not a HILLS file of METAD"),
        ("own.dat", (), 65, "own.dat:3: WALKERS_N=2: psiflow sets the walkers itself"),
    ):
        assert problem in sample("--plumed", input_file, *options, "-o", "x.xyz", code=code)


@needs_kernel
@pytest.mark.full
def test_a_shared_bias_that_is_killed():
    """Walkers in workers of their own: each hill is there once, whenever the run was killed."""
    Path("htex.toml").write_text(
        springs.SITE.replace('"threads"', '"htex"\nenvironment = "here"').replace('cores = "all"', "cores = 1")
        + "[environments.here]\nkeep_pythonpath = true\n"
    )
    Path("lj.py").write_text(
        "def calculator(device, dtype):\n    from ase.calculators.lj import LennardJones\n\n"
        "    return LennardJones(sigma=0.9, epsilon=0.3, rc=4.0)\n"
    )
    psiflow = Path(sys.executable).with_name("psiflow")
    words = [psiflow, "sample", "start.xyz", "--model", "./lj.py", "--site", "htex.toml", "--engine", "ase"]
    words += ["--plumed", "metad.dat", "--walkers", "4", "--share-bias", "--steps", "3000", "-o", "shared.xyz"]
    for seconds in (9, 12, 15):
        with contextlib.suppress(subprocess.TimeoutExpired):  # which kills it
            subprocess.run(words, timeout=seconds, capture_output=True, check=False)
    subprocess.run(words, capture_output=True, check=True)
    times = [(walker, 10.0 * n) for walker in range(4) for n in range(1, 151)]
    assert [each[:2] for each in numbers("shared.hills")] == times


@needs_kernel
def test_walkers_begin_at_the_frames_nearest_to_their_windows():
    start = ase_io.read("start.xyz", "0")
    frames = [start.copy() for _ in range(4)]
    for frame, distance in zip(frames, (1.3, 0.9, 1.12, 1.0), strict=True):
        frame.set_distance(0, 1, distance, fix=0)
    ase_io.write("many.xyz", frames)
    Path("w.dat").write_text("UNITS LENGTH=A ENERGY=eV\nd: DISTANCE ATOMS=1,2\nRESTRAINT ARG=d AT=@AT@ KAPPA=20\n")
    words = ("--plumed", "w.dat", "--vary", "AT=0.9,1.0,1.3", "--nearest")
    sample(*words, "many.xyz", "--ensemble", "nve", "--steps", 1, "--every", 1, "--timestep", 0.001, "-o", "out.xyz")
    assert [frame.get_distance(0, 1) for frame in ase_io.read("out.xyz", ":")] == pytest.approx(
        [0.9, 1.0, 1.3], abs=2e-3
    )
    frames[2].symbols[0] = "Xe"
    ase_io.write("other.xyz", frames)
    assert "frame 3: its atoms or pbc differ" in sample(*words, "other.xyz", "-o", "x.xyz", code=65)
