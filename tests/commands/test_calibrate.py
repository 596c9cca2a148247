"""psiflow evaluate --calibrate: what the bundle holds, who uses it, and what is refused before anything is computed."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from psiflow_cli import bundle, registry, toml
from psiflow_cli.main import main
from psiflow_cli.runtime import request
from tests.commands import springs

np = pytest.importorskip("numpy")
ase_io = pytest.importorskip("ase.io", reason="the frames are read with ase")
pytest.importorskip("ase.md.langevinbaoab", reason="needs ASE 3.27 or later")

STRENGTHS = (1.5, 2.0, 2.6)
SPREAD = np.std(STRENGTHS)  # of the force, per Å that an atom is away from its place
COMMON = ("--model", "com.model", "--site", "threads.toml")


def write_frames(name, number, seed, scale=1.6, floor=0.05):
    """Displaced molecules, whose labels differ from the mean of the springs by what scale and floor say."""
    from ase import Atoms
    from ase.calculators.singlepoint import SinglePointCalculator

    rng = np.random.default_rng(seed)
    frames = []
    for index in range(number):
        away = rng.normal(0, 0.05 * (1 + index % 4), (3, 3))
        atoms = Atoms("OHH", np.array(springs.PLACES) + away, cell=[9.0] * 3, pbc=True)
        widths = np.hypot(scale * SPREAD * np.linalg.norm(away, axis=1), floor) / np.sqrt(3)
        forces = -np.mean(STRENGTHS) * away + rng.normal(size=(3, 3)) * widths[:, None]
        energy = 0.5 * np.mean(STRENGTHS) * (away**2).sum() * (1 + 0.4 * rng.normal())
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
        frames.append(atoms)
    ase_io.write(name, frames, format="extxyz")


def run(*arguments, code=0):
    """`psiflow` with the springs among its families, in this process: that costs a quarter of another one."""
    load = registry.load
    own = SimpleNamespace(__name__=springs.__file__, features=springs.features, REQUIRES=springs.REQUIRES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "load", lambda kind, name: own if name == springs.__file__ else load(kind, name))
        done = CliRunner().invoke(main, [str(word) for word in arguments])
    assert done.exit_code == code, f"exit {done.exit_code}, not {code}\n{done.output}"
    assert "Traceback" not in done.output
    return done


def make(folder):
    """A committee, calibrated, with the frames and what was said of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        springs.bundle(Path("com.model"), *STRENGTHS)
        Path("threads.toml").write_text(springs.SITE)
        write_frames("held.xyz", 120, 1)
        before = request.sha256(Path("com.model"))
        done = run("evaluate", "held.xyz", *COMMON, "--calibrate", "--json")
        Path("said.json").write_text(done.stdout)
        Path("stderr").write_text(done.stderr)
        assert request.sha256(Path("com.model")) == before, "the training would no longer know its model"


@pytest.fixture
def here(once, tmp_path, monkeypatch):
    """A copy of what was calibrated, to work in."""
    monkeypatch.delenv("PSIFLOW_SITE", raising=False)
    folder = tmp_path / "here"
    shutil.copytree(once("calibrated", make), folder)
    monkeypatch.chdir(folder)
    return json.loads(Path("com.model/calibration.json").read_text())


def expected(quantity, spread):
    return np.hypot(quantity["scale"] * spread, quantity["floor"])


def test_the_bundle_holds_what_was_found(here):
    said = json.loads(Path("said.json").read_text())
    assert said["calibration"] == {"forces": here["forces"], "energy": here["energy"]}
    assert said["calibrated"] == "com.model/calibration.json"
    assert here["forces"]["scale"] == pytest.approx(1.6, rel=0.15)
    assert here["forces"]["floor"] == pytest.approx(0.05, rel=0.15)
    assert (here["frames"], here["forces"]["count"], here["energy"]["count"]) == (120, 360, 120)
    assert here["data"] == {"held.xyz": hashlib.sha256(Path("held.xyz").read_bytes()).hexdigest()}
    assert here["weights"] == bundle.load("com.model").fingerprint
    assert not list(Path("com.model").glob(".*")), "something was left"
    assert "no training data" in Path("stderr").read_text()
    for atoms in ase_io.read("held.evaluated.xyz", ":"):
        spread = atoms.arrays["model_forces_std"]
        assert atoms.arrays["model_forces_expected_error"] == pytest.approx(expected(here["forces"], spread))
        energy = 3 * expected(here["energy"], atoms.info["model_energy_std"] / 3)
        assert atoms.info["model_energy_expected_error"] == pytest.approx(energy)
    assert "is up to date" in run("evaluate", "held.xyz", *COMMON, "--calibrate").stderr
    shown = run("model", "show", "com.model").stdout
    assert "120 frames (held.xyz)" in shown
    assert f"{here['forces']['scale']:.3g}" in shown
    assert "4 checked" in run("model", "verify", "com.model").stderr


def test_other_frames_have_the_expected_errors(here):
    write_frames("new.xyz", 120, 2)
    said = json.loads(run("evaluate", "new.xyz", *COMMON, "--json").stdout)
    of_forces = said["calibration"]["forces"]
    assert of_forces["ratio_after"] == pytest.approx(1, abs=0.1)
    assert abs(of_forces["ratio_before"] - 1) > 0.4
    assert of_forces["calibration_error_after"] < 0.15 < of_forces["calibration_error_before"]
    (row,) = (r for r in said["spread"] if (r["quantity"], r["by"]) == ("forces", "all"))
    frames = ase_io.read("new.evaluated.xyz", ":")
    wanted = np.concatenate([atoms.arrays["model_forces_expected_error"] for atoms in frames])
    assert row["expected"] == pytest.approx(1e3 * np.sqrt(np.mean(wanted**2)))
    assert row["error"] / row["expected"] == pytest.approx(of_forces["ratio_after"])
    assert max(map(len, said["spread_table"].splitlines())) <= 80
    # another calibration: the same predictions, other expected errors
    journal = Path("new.evaluated.xyz.run/journal.jsonl")
    units = journal.read_text().count('"unit"')
    Path("com.model/calibration.json").unlink()
    run("evaluate", "new.xyz", *COMMON)
    assert "expected_error" not in Path("new.evaluated.xyz").read_text()
    assert "calibration" not in json.loads(Path("new.evaluated.xyz.run/run.json").read_text())["settings"]
    assert journal.read_text().count('"unit"') == units


def test_a_selection_is_by_the_expected_errors(here):
    floor, scale = here["forces"]["floor"], here["forces"]["scale"]
    limits = [np.hypot(scale * SPREAD * away, floor) for away in (0.15, 0.25)]
    shifted = [f"{springs.START}".replace("0.0 0.0 0.0\nH", f"{shift} 0.0 0.0\nH") for shift in (0.1, 0.2, 0.3)]
    Path("traj.xyz").write_text("".join(shifted))
    threshold = f"{limits[0]}:{limits[1]}"
    done = run("select", "traj.xyz", "--by", "committee", *COMMON, "--threshold", threshold, "-o", "a.xyz")
    assert "expected error of the forces" in done.stderr
    assert Path("a.xyz").read_text() == shifted[1]
    run("evaluate", "traj.xyz", *COMMON)
    site = ("--site", "threads.toml")
    run("select", "traj.evaluated.xyz", "--by", "committee", "--threshold", threshold, "-o", "b.xyz", *site)
    assert ase_io.read("b.xyz", ":") == ase_io.read("a.xyz", ":")
    said = run("select", "traj.xyz", "--by", "committee", *COMMON, "--threshold", f"0:{floor / 2}", code=2).stderr
    assert f"{floor:.3g} eV/Å or more" in said
    Path("com.model/calibration.json").unlink()
    run("evaluate", "traj.xyz", *COMMON, "-o", "raw.xyz")
    said = run("select", "traj.evaluated.xyz", "raw.xyz", "-n", 1, "--by", "committee", *site, code=65).stderr
    assert "raw.xyz:1: frame 1: no model_forces_expected_error" in said


def test_walkers_stop_where_a_large_error_is_expected(here):
    Path("start.xyz").write_text(springs.START)
    usual = ("sample", "start.xyz", *COMMON, "--engine", "ase", "--seed", 1, "--every", 5, "--steps", 60)
    run(*usual, "-o", "run.xyz", "--properties", "run.csv")
    frames = ase_io.read("run.xyz", ":")
    largest = [atoms.arrays["model_forces_expected_error"].max() for atoms in frames]
    for atoms, value, row in zip(
        frames, largest, csv.DictReader(Path("run.csv").read_text().splitlines()), strict=True
    ):
        assert value == pytest.approx(expected(here["forces"], atoms.arrays["model_forces_std"].max()))
        assert float(row["max_model_forces_expected_error_eV_per_A"]) == pytest.approx(value)
        energy = 3 * expected(here["energy"], atoms.info["model_energy_std"] / 3)
        assert atoms.info["model_energy_expected_error"] == pytest.approx(energy)
        assert float(row["model_energy_expected_error_eV"]) == pytest.approx(energy)
    limit = (min(largest) + max(largest)) / 2
    done = run(*usual, "--max-spread", limit, "--max-failed", 1, "-o", "limited.xyz")
    assert "expected error" in done.stderr
    through = len(ase_io.read("limited.xyz", ":"))
    assert 0 < through < len(frames)
    assert all(value <= limit for value in largest[:through])
    said = run(*usual, "--max-spread", here["forces"]["floor"] / 2, code=2).stderr
    assert "every walker would stop" in said
    # without the calibration: other frames, no new dynamics
    checkpoints = {path: path.stat().st_mtime_ns for path in Path("run.xyz.run").rglob("state.json")}
    Path("com.model/calibration.json").unlink()
    run(*usual, "-o", "run.xyz", "--properties", "run.csv")
    assert "expected_error" not in Path("run.xyz").read_text()
    assert {path: path.stat().st_mtime_ns for path in Path("run.xyz.run").rglob("state.json")} == checkpoints


def test_another_calibration_needs_a_word(here):
    write_frames("new.xyz", 60, 3, scale=3.0)
    arguments = ("evaluate", "new.xyz", *COMMON, "--calibrate")
    said = run(*arguments, code=73).stderr
    assert "com.model/calibration.json: this model is already calibrated" in said
    assert "--overwrite" in said
    run(*arguments, "--overwrite")
    assert json.loads(Path("com.model/calibration.json").read_text())["forces"]["scale"] > 2


def spoil(here, how):
    """Change the folder as a test of refusals asks; returns the frames to calibrate with."""
    path, facts = Path("com.model/calibration.json"), toml.loads(Path("com.model/model.toml").read_text())
    if how == "changed":
        path.write_text(path.read_text().replace('"floor": 0.', '"floor": 1.', 1))
    elif how == "belongs to weights other than":
        here["weights"] = "0" * 16
        path.write_text(json.dumps({**here, "sha256": bundle.checksum(here)}))
    else:
        path.unlink()
    if how == "unfinished":
        Path("com.model/model.toml").write_text(toml.dumps({"unfinished": True, **facts}))
    if how in ("trained on", "validated with"):
        Path("com.model/data").mkdir()
        part = Path("com.model/data", "train.xyz" if how == "trained on" else "valid.xyz")
        ase_io.write(part, ase_io.read("held.xyz", ":")[7:9])  # eight decimals, as another program writes
        facts["data"] = {f"data/{part.name}": hashlib.sha256(part.read_bytes()).hexdigest()}
        Path("com.model/model.toml").write_text(toml.dumps(facts))
    if how == "few":
        ase_io.write("held.xyz", ase_io.read("held.xyz", ":")[:9])
    if how == "unrelated":
        frames = ase_io.read("held.xyz", ":")
        for atoms in frames:
            away = np.linalg.norm(atoms.positions - np.array(springs.PLACES), axis=1)
            forces = -np.mean(STRENGTHS) * (atoms.positions - np.array(springs.PLACES))
            atoms.calc.results["forces"] = forces + np.array([[1.0, 0, 0]]) / (1 + away[:, None])
        ase_io.write("held.xyz", frames)


@pytest.mark.parametrize(
    ("how", "code", "what"),
    [
        ("trained on", 65, "held.xyz:36: frame 8: the model was trained on this structure, as on 1 others"),
        ("few", 65, "too few frames with forces for a calibration: 9"),
        ("unrelated", 65, "does not correlate with their errors"),
        ("unfinished", 65, "com.model: its training has not finished"),
        ("changed", 65, "com.model/calibration.json: not (or no longer)"),
        (
            "belongs to weights other than",
            65,
            "com.model/calibration.json: the calibration belongs to weights other than",
        ),
    ],
)
def test_what_is_refused(here, how, code, what):
    spoil(here, how)
    uses = how in ("changed", "belongs to weights other than")
    said = run("evaluate", "held.xyz", *COMMON, *([] if uses else ["--calibrate"]), "-o", "out.xyz", code=code).stderr
    assert what in said
    assert len(said.strip().splitlines()) <= 3
    assert uses or not Path("com.model/calibration.json").exists()
    if uses:
        assert what in run("model", "verify", "com.model", code=65).stderr


def test_a_committee_that_is_being_trained_is_left_alone(here):
    Path("com.model.run").mkdir()
    from psiflow_cli.runtime.lock import Lock

    lock = Lock(Path("com.model.run/lock"))
    try:
        said = run("evaluate", "held.xyz", *COMMON, "--calibrate", code=75).stderr
    finally:
        lock.release()
    assert "a training will replace it soon" in said


def test_validation_data_are_said(here):
    spoil(here, "validated with")
    done = run("evaluate", "held.xyz", *COMMON, "--calibrate", "-o", "out.xyz")
    assert "2 of 120 frames are validation data" in done.stderr


def test_one_model_has_no_spread(here):
    springs.bundle(Path("one.model"), 2.0)
    said = run("evaluate", "held.xyz", "--model", "one.model", "--calibrate", "--site", "threads.toml", code=2).stderr
    assert "one.model is a model of one member" in said
