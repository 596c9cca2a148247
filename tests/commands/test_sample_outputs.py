"""psiflow sample: what it writes beside the trajectory, published whole, repeatable, and never at the price of MD."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import warm
from tests.commands import springs

np = pytest.importorskip("numpy")
ase_io = pytest.importorskip("ase.io", reason="the frames are read with ase")
pytest.importorskip("ase.md.langevinbaoab", reason="needs ASE 3.27 or later")
pytest.importorskip("matplotlib", reason="the plot is drawn with it")

COMMAND = (springs.__file__, "sample")
USUAL = ("--model", "springs.model", "--site", "threads.toml", "--engine", "ase", "--friction", "50")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A folder with a start, a model that costs nothing, and a site that begins at once."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PSIFLOW_SITE", raising=False)
    springs.bundle(Path("springs.model"))
    Path("start.xyz").write_text(springs.START)
    Path("threads.toml").write_text(springs.SITE)


def sample(*arguments, code=0, model="springs.model", stdin=""):
    words = [*COMMAND, "start.xyz" if not stdin else "-", *USUAL, *map(str, arguments)]
    words[words.index("springs.model")] = model
    done = warm.server().run(words, stdin)
    assert done.returncode == code, f"exit {done.returncode}, not {code}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done


def rows(path):
    with open(path, newline="") as stream:
        return list(csv.DictReader(stream))


def checkpoints():
    """The checkpoints of all runs below here, with the time of their last change."""
    return {path: path.stat().st_mtime_ns for path in Path().rglob("state.json")}


SHORT = ("--walkers", 3, "--steps", 205, "--every", 10, "--seed", 3)


def test_everything_at_once_and_later(tmp_path):
    files = ("--properties", "run.csv", "--plot", "run.png", "--final", "next.xyz", "--stopped", "label.xyz")
    done = sample(*SHORT, *files, "-o", "run.traj", "--json")
    said = json.loads(done.stdout)
    assert (said["frames"], said["final"], said["stopped"]) == (60, "next.xyz", None)
    assert not Path("label.xyz").exists(), "no walker was stopped"

    frames = ase_io.read("run.traj", ":")
    table = rows("run.csv")
    assert list(table[0]) == [
        *("walker", "step", "time_fs", "temperature_K", "pressure_bar", "volume_A3", "model_energy_eV"),
        *("kinetic_energy_eV", "total_energy_eV"),
    ]
    assert [(int(row["walker"]), int(row["step"])) for row in table] == [
        (walker, step) for walker in range(3) for step in range(10, 201, 10)
    ]
    for row, atoms in zip(table, frames, strict=True):
        names = {"temperature_K": "temperature", "pressure_bar": "pressure", "model_energy_eV": "model_energy"}
        assert {name: float(row[name]) for name in names} == {name: atoms.info[key] for name, key in names.items()}
        away = atoms.positions - springs.PLACES
        assert float(row["model_energy_eV"]) == pytest.approx((away**2).sum())
        total = atoms.info["model_energy"] + atoms.info["kinetic_energy"]
        assert float(row["total_energy_eV"]) == pytest.approx(total, abs=1e-12)

    for walker, average in enumerate(said["averages"]):
        assert (average["walker"], average["frames"], average["discarded"]) == (walker, 16, 4)
        late = [float(r["temperature_K"]) for r in table if int(r["walker"]) == walker and int(r["step"]) > 40]
        assert average["temperature"]["mean"] == pytest.approx(np.mean(late))
    assert said["means"][0]["paths"] == 3
    assert done.stderr.count("\n") == 1
    assert Path("run.png").read_bytes()[:4] == b"\x89PNG"

    # the end is at step 205, five steps after the last recorded frame: a run of 205 steps records it
    sample(*SHORT[:-4], "--every", 205, "--seed", 3, "-o", "end.xyz")
    for atoms, end in zip(ase_io.read("next.xyz", ":"), ase_io.read("end.xyz", ":"), strict=True):
        assert atoms.info == {"walker": end.info["walker"], "step": 205, "time": 102.5}
        assert (atoms.positions == end.positions).all()
        assert (atoms.cell == end.cell).all()

    before = checkpoints()
    again = sample(*SHORT, *files, "-o", "run.traj")
    assert "up to date" in again.stderr
    assert again.stdout.rstrip() == said["table"]
    others = ("--properties", "other.csv", "--plot", "run.pdf", "--discard", "50 fs")
    again = json.loads(sample(*SHORT, *others, "-o", "run.traj", "--json").stdout)
    assert checkpoints() == before, "another output must not move a walker"
    assert [average["discarded"] for average in again["averages"]] == [10] * 3
    assert Path("other.csv").read_bytes() == Path("run.csv").read_bytes()
    assert Path("run.pdf").read_bytes()[:5] == b"%PDF-"


@pytest.mark.full
def test_killed_and_gone_on_gives_the_same_files():
    arguments = (*USUAL, "--walkers", "2", "--steps", "1800", "--every", "20")

    def files(name):
        ends = {"-o": ".traj", "--properties": ".csv", "--plot": ".svg", "--final": ".final.xyz"}
        return [word for option, end in ends.items() for word in (option, name + end)]

    sample(*arguments[len(USUAL) :], *files("whole"))
    process = subprocess.Popen(
        [sys.executable, *COMMAND, "start.xyz", *arguments, *files("killed")], stderr=subprocess.PIPE
    )
    journal = Path("killed.traj.run/journal.jsonl")
    deadline = time.monotonic() + 60
    while not journal.exists() or '"kind":"unit"' not in journal.read_text():
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not list(Path().glob("killed.[tcsf]*[!n]")), "an output before the end"
    sample(*arguments[len(USUAL) :], *files("killed"))
    for end in ("traj", "csv", "svg", "final.xyz"):
        assert Path(f"killed.{end}").read_bytes() == Path(f"whole.{end}").read_bytes(), end


def test_stopped_walkers_are_given_for_labelling():
    arguments = ("--walkers", 3, "--steps", 60, "--every", 2, "--temperature", 600, "-o", "hot.xyz")
    files = ("--stopped", "label.xyz", "--final", "next.xyz", "--max-failed", "100%")
    said = json.loads(sample(*arguments, *files, "--max-force", 0.5, "--json").stdout)
    assert said["failures"] == {"force": 3}
    assert (said["stopped"], said["final"]) == ("label.xyz", None)
    assert not Path("next.xyz").exists()
    recorded = ase_io.read("hot.xyz", ":")
    found = ase_io.read("label.xyz", ":")
    assert [atoms.info["walker"] for atoms in found] == [0, 1, 2]
    for atoms in found:
        assert atoms.info["stop_kind"] == "force"
        assert atoms.info["stop_reason"].startswith("force ")
        own = [a for a in recorded if a.info["walker"] == atoms.info["walker"]]
        assert 0 <= atoms.info["stop_step"] - atoms.info["step"] <= 2
        assert atoms.info["step"] == (own[-1].info["step"] if own else 0)
        if own:
            assert (atoms.positions == own[-1].positions).all()
    assert "3 walkers, up to 60 steps (" in sample(*arguments, *files, "--max-force", 0.4).stderr
    assert "3 walkers, 60 steps (" in sample(*arguments, *files, "--max-force", 50).stderr
    assert not Path("label.xyz").exists(), "it no longer holds"
    assert len(ase_io.read("next.xyz", ":")) == 3
    Path("label.xyz").write_text(springs.START)
    said = sample(*arguments, *files, "--max-force", 0.5, code=73).stderr
    assert "label.xyz: exists" in said
    assert Path("label.xyz").read_text() == springs.START


def test_a_committee_has_its_spread_in_the_table():
    springs.bundle(Path("several.model"), 1.9, 2.0, 2.2)
    sample("--steps", 20, "--properties", "run.csv", "-o", "run.xyz", model="several.model")
    for row, atoms in zip(rows("run.csv"), ase_io.read("run.xyz", ":"), strict=True):
        assert float(row["model_energy_std_eV"]) == atoms.info["model_energy_std"]
        assert float(row["max_model_forces_std_eV_per_A"]) == atoms.arrays["model_forces_std"].max() > 0


def test_a_pipe_has_frames_only_and_keeps_its_walkers():
    arguments = ("--steps", 40, "--every", 20)
    done = sample(*arguments, stdin=springs.START)
    assert done.stdout.count("step=") == 2
    assert done.stdout.startswith("3\nLattice=")
    assert "walker 0" in done.stderr
    before = checkpoints()
    again = sample(*arguments, "--final", "next.xyz", stdin=springs.START)
    assert again.stdout == done.stdout
    assert Path("next.xyz").exists()
    assert checkpoints() == before


@pytest.mark.parametrize(
    ("arguments", "code", "what"),
    [
        (("-o", "run.foo"), 2, ".traj"),
        (("-o", "run"), 2, "--output run"),
        (("--properties", "run.txt"), 2, ".csv, .parquet"),
        (("--plot", "run.jpeg"), 2, ".png, .pdf, .svg"),
        (("--final", "run.cif"), 2, ".xyz"),
        (("--stopped", "-"), 2, "--stopped -"),
        (("--final", "a.xyz", "--stopped", "./a.xyz"), 2, "two outputs"),
        (("--discard", "2"), 2, "'5 ps'"),
        (("--final", "start.xyz"), 73, "start.xyz: is an input"),
        (("--plot", "nowhere/run.png"), 73, "does not exist"),
        (("--plot", "threads.toml.png"), 73, "threads.toml.png: exists"),
    ],
)
def test_what_cannot_be_written_is_said_before_anything_is_computed(arguments, code, what):
    Path("threads.toml.png").write_text("mine")
    said = sample(*arguments, "--steps", 10, code=code).stderr
    assert what in said
    assert len(said.strip().splitlines()) <= 2
    assert not list(Path().glob("*.run"))
