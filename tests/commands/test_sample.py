"""psiflow sample: physics, walkers of their own, going on after a kill, and explosions that leave no frames."""

from __future__ import annotations

import json
import signal
import time
from collections import defaultdict
from pathlib import Path

import pytest

from tests.commands.inputs import BOX, WATER

np = pytest.importorskip("numpy")
ase_io = pytest.importorskip("ase.io", reason="the frames are read with ase")
pytest.importorskip("ase.md.langevinbaoab", reason="needs ASE 3.27 or later")

BOXED = WATER.replace("Properties", 'Lattice="9.0 0.0 0.0 0.0 9.0 0.0 0.0 0.0 9.0" Properties').replace(
    "F F F", "T T T"
)


def walkers(name):
    """{walker: its frames} of a trajectory."""
    found = defaultdict(list)
    for atoms in ase_io.read(name, ":"):
        found[atoms.info["walker"]].append(atoms)
    return dict(found)


def column(frames, key):
    return np.array([atoms.info[key] for atoms in frames])


@pytest.mark.full
def test_nve_conserves_energy(psiflow, trained):
    """Total energy from the frames alone: 3N - 3 degrees of freedom move, since the centre of mass rests."""
    from ase import units

    Path("start.xyz").write_text(WATER + BOXED)
    psiflow(
        *("sample", "start.xyz", "--model", trained.model, "--ensemble", "nve", "--temperature", 300),
        *("--timestep", 0.5, "--steps", 800, "--every", 8, "--walkers", 2, "--seed", 1),
    )
    found = walkers("start.sampled.xyz")
    assert [frames[0].pbc.all() for frames in found.values()] == [False, False, True, True]
    for frames in found.values():
        assert column(frames, "step").tolist() == list(range(8, 801, 8))
        assert column(frames, "time") == pytest.approx(0.5 * column(frames, "step"))
        count = len(frames[0])
        kinetic = 0.5 * (3 * count - 3) * units.kB * column(frames, "temperature")
        potential = column(frames, "model_energy")
        per_atom = (potential + kinetic) / count * 1e3
        drift = np.polyfit(column(frames, "time") / 1e3, per_atom, 1)[0]
        assert abs(drift) < 1, f"{drift} meV/atom/ps"
        assert per_atom.std() < 0.05 * (potential / count * 1e3).std(), "nothing was exchanged, or not conserved"
    starts = [frames[0].positions.tolist() for frames in found.values()]
    assert starts[0] != starts[1]
    assert starts[2] != starts[3]


@pytest.mark.full
def test_nvt_has_its_temperature(psiflow, trained):
    Path("start.xyz").write_text(BOXED)
    psiflow(
        *("sample", "start.xyz", "--model", trained.model, "--temperature", 330, "--friction", 100),
        *("--steps", 700, "--every", 5, "--walkers", 4, "--seed", 2, "-o", "nvt.xyz"),
    )
    found = walkers("nvt.xyz")
    assert sorted(found) == [0, 1, 2, 3]
    # Kinetic energies are forgotten in 1/(2 friction) = 5 fs: the first 50 fs go, and 10 fs hold one sample.
    late = np.array([column(frames, "temperature")[column(frames, "time") > 50] for frames in found.values()])
    samples = 4 * 300 / 10
    error = 330 * np.sqrt(2 / (9 * samples))  # 9 degrees of freedom: the thermostat moves the centre of mass, too
    assert error < 15
    assert late.mean() == pytest.approx(330, abs=4 * error)
    assert late.std() == pytest.approx(330 * np.sqrt(2 / 9), rel=0.3)
    paths = {json.dumps(frames[-1].positions.tolist()) for frames in found.values()}
    assert len(paths) == 4, "walkers share their noise"


SHORT = ("--steps", 300, "--every", 20, "--walkers", 3, "--temperature", 300)
PAIRS = ("--engine", "torchsim", "--batch", 2)
"""Two walkers together, and one by itself: a plan that the machine's mood does not change."""


@pytest.mark.full
def test_killed_and_gone_on_gives_the_same_bytes(psiflow, start, trained):
    pytest.importorskip("torch_sim", reason="torch-sim is not installed")
    Path("start.xyz").write_text(WATER)
    arguments = ("sample", "start.xyz", "--model", trained.model, *SHORT, *PAIRS, "--seed", 5)
    psiflow(*arguments, "-o", "whole.xyz")
    process = start(*arguments, "-o", "killed.xyz")
    journal = Path("killed.xyz.run/journal.jsonl")
    deadline = time.monotonic() + 100
    while not journal.exists() or '"kind":"unit"' not in journal.read_text():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not Path("killed.xyz").exists()
    dead = json.loads(psiflow("status", "killed.xyz", "--json").stdout)[0]
    assert (dead["state"], dead["total"]) == ("dead", 900)
    assert 0 < dead["done"] < 900
    psiflow(*arguments, "-o", "killed.xyz")
    assert Path("killed.xyz").read_bytes() == Path("whole.xyz").read_bytes()
    done = json.loads(psiflow("status", "killed.xyz", "--json").stdout)[0]
    assert (done["state"], done["done"], done["failed"]) == ("done", 900, 0)
    assert "up to date" in psiflow(*arguments, "-o", "killed.xyz").stderr

    found = walkers("whole.xyz")
    assert {w: column(frames, "step").tolist() for w, frames in found.items()} == {
        w: list(range(20, 301, 20)) for w in range(3)
    }
    assert [a.info["walker"] for a in ase_io.read("whole.xyz", ":")] == [0] * 15 + [1] * 15 + [2] * 15
    for frames in found.values():
        for atoms in frames:
            assert set(atoms.info) == {"walker", "step", "time", "temperature", "model_energy", "kinetic_energy"}
            assert not atoms.pbc.any()


@pytest.mark.full
def test_a_walkers_path_is_its_own(psiflow, trained):
    """More walkers, other starts and another length leave a walker's path as it was."""
    Path("one.xyz").write_text(BOX)
    Path("two.xyz").write_text(BOX + WATER)
    arguments = ("--model", trained.model, "--every", 10, "--seed", 1, "--engine", "ase")
    psiflow("sample", "one.xyz", *arguments, "--steps", 30, "--walkers", 2, "-o", "a.xyz")
    psiflow("sample", "two.xyz", *arguments, "--steps", 25, "--walkers", 3, "-o", "b.xyz")
    a, b = walkers("a.xyz"), walkers("b.xyz")
    assert [len(frames) for frames in a.values()] == [3] * 2
    assert [len(frames) for frames in b.values()] == [2] * 6  # 25 steps, one frame every 10
    for walker in (0, 1):
        for frame in (0, 1):
            assert (b[walker][frame].positions == a[walker][frame].positions).all()
    assert [len(frames[0]) for frames in b.values()] == [6, 6, 6, 3, 3, 3]


@pytest.mark.full
def test_what_was_measured_is_written_down_and_used_again(psiflow, trained):
    """Longer, the run goes on: with its plan, and without a step done again."""
    Path("start.xyz").write_text(BOXED)
    arguments = ("sample", "start.xyz", "--model", trained.model, "--walkers", 4, "--every", 10, "-o", "t.xyz")
    first = json.loads(psiflow(*arguments, "--steps", 20, "--json").stdout)
    short = walkers("t.xyz")
    journal = [json.loads(line) for line in Path("t.xyz.run/journal.jsonl").read_text().splitlines()]
    (plan,) = (record for record in journal if record["kind"] == "plan")
    assert (plan["engine"], plan["batch"]) == (first["engine"], first["batch"])
    tried = {(pace["engine"], pace["batch"]) for pace in plan["paces"]}
    assert ("ase", 1) in tried
    assert all(pace["seconds"] > 0 for pace in plan["paces"])
    second = json.loads(psiflow(*arguments, "--steps", 40, "--json").stdout)
    assert (second["engine"], second["batch"]) == (first["engine"], first["batch"])
    long = walkers("t.xyz")
    text = Path("t.xyz.run/journal.jsonl").read_text()
    assert text.count('"kind":"plan"') == 1
    psiflow(*arguments, "--steps", 20)
    assert [a.info["step"] for a in walkers("t.xyz")[3]] == [10, 20], "no more than asked for"
    for number in range(4):
        assert [a.info["step"] for a in long[number]] == [10, 20, 30, 40]
        for a, b in zip(short[number], long[number][:2], strict=True):
            assert (a.positions == b.positions).all()


@pytest.mark.full
def test_an_explosion_is_stopped_and_leaves_no_unphysical_frames(psiflow, trained):
    Path("start.xyz").write_text(WATER)
    arguments = (
        *("sample", "start.xyz", "--model", trained.model, "--ensemble", "nve", "--timestep", 20),
        *("--steps", 200, "--every", 1, "--walkers", 2, "-o", "boom.xyz"),
    )
    said = psiflow(*arguments, code=1).stderr
    assert "2 of 2 failed" in said
    assert "walker 0: " in said
    assert "walker 1: " in said
    for atoms in ase_io.read("boom.xyz", ":") if Path("boom.xyz").stat().st_size else []:
        assert atoms.info["temperature"] < 10_000
        assert atoms.get_all_distances()[np.triu_indices(3, 1)].min() > 0.4
        assert np.isfinite(atoms.positions).all()
        assert np.isfinite(atoms.info["model_energy"])
    run = json.loads(psiflow("status", "boom.xyz", "--json", "--failures").stdout)[0]
    assert (run["state"], run["failed"]) == ("partial", 2)
    assert {f["failure"] for f in run["failures"]} <= {"temperature", "distance", "force", "nan"}
    for failed in run["failures"]:
        assert failed["message"].split()[0] in ("temperature", "distance", "force", "positions", "energy", "forces")
    assert "up to date" in psiflow(*arguments, code=1).stderr
    lenient = psiflow(*arguments, "--max-failed", "100%")
    assert "2 of 2 failed" in lenient.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "what"),
    [
        ((), 2, "--model"),
        (("--model", "{model}", "--ensemble", "nvd"), 2, "nvt"),
        (("--model", "{model}", "--steps", "0"), 2, "--steps"),
        (("--model", "{model}", "--every", "0"), 2, "--every"),
        (("--model", "{model}", "--timestep", "0"), 2, "--timestep"),
        (("--model", "{model}", "--timestep", "nan"), 2, "--timestep"),
        (("--model", "{model}", "--temperature", "-1"), 2, "--temperature"),
        (("--model", "{model}", "--temperature", "inf"), 2, "--temperature"),
        (("--model", "{model}", "--walkers", "0"), 2, "--walkers"),
        (("--model", "{model}", "--engine", "asd"), 2, "'ase'"),
        (("--model", "{model}", "--engine", "ase", "--batch", "4"), 2, "moves one walker at a time"),
        (("--model", "{model}", "--engine", "torchsim", "--beads", "4"), 2, "path integrals"),
        (("--model", "{model}", "--temperature", "300,hot"), 2, "'hot' is neither"),
        (("--model", "{model}", "--temperature", "300,400", "--exchange", "10", "--walkers", "3"), 2, "3 walkers at 2"),
        (("--model", "{model}", "--temperature", "300", "--exchange", "10"), 2, "two or more temperatures"),
        (("--model", "{model}", "--ensemble", "nve", "--temperature", "100:300"), 2, "no thermostat"),
        (("--model", "{model}", "--pressure", "1000"), 2, "--pressure has no effect: the volume is fixed"),
        (("--model", "{model}", "--cell=flexible", "--ensemble=nvst"), 2, "--cell has no effect: the volume is fixed"),
        (("--model", "{model}", "--friction", "1", "--thermostat", "csvr"), 2, "--friction has no effect: csvr"),
        (("--model", "{model}", "--max-spread", "1"), 2, "needs a committee"),
        (("--model", "{model}", "--ensemble", "npt"), 65, "in.xyz:1: frame 1: not periodic in three directions"),
        (("--model", "{model}", "--config", "no.toml"), 78, "no.toml"),
        (("--model", "none.model"), 66, "none.model"),
        (("--model", "{model}", "-o", "in.xyz"), 73, "in.xyz"),
    ],
)
def test_wrong_usage(psiflow, trained, arguments, code, what):
    Path("in.xyz").write_text(WATER)
    said = psiflow("sample", "in.xyz", *(a.format(model=trained.model) for a in arguments), code=code).stderr
    assert what in said
    assert len(said.strip().splitlines()) <= 2
    assert not Path("in.sampled.xyz.run").exists()


def test_wrong_starts(psiflow, trained):
    Path("in.xyz").write_text(WATER + WATER.replace("O ", "S "))
    said = psiflow("sample", "in.xyz", "--model", trained.model, code=65).stderr
    assert "in.xyz:6: frame 2: the model does not know S" in said
    assert "knows H, O" in said
    Path("in.xyz").write_text(WATER.replace("0.96", "nan"))
    assert "in.xyz:4: frame 1" in psiflow("sample", "in.xyz", "--model", trained.model, code=65).stderr
    Path("in.xyz").write_text(WATER)
    plan = json.loads(psiflow("sample", "in.xyz", "--model", trained.model, *SHORT, "--dry-run", "--json").stdout)
    assert (plan["walkers"], plan["steps"]) == (3, 300)
    typed = ("--steps", "1", "ps", "--every", "10fs", "--timestep", "0.5 fs", "--ensemble", "NVE", "--engine", "ASE")
    plan = json.loads(psiflow("sample", "in.xyz", "--model", trained.model, *typed, "--dry-run", "--json").stdout)
    assert plan["steps"] == 2000
