"""psiflow train: what it takes, the bundle it makes, and going on after a kill."""

from __future__ import annotations

import hashlib
import json
import re
import signal
import threading
import time
from pathlib import Path

import pytest

from psiflow_cli import bundle, toml
from psiflow_cli.site import detect

pytestmark = pytest.mark.usefixtures("in_threads")

GIVEN = ("--e0s", "{1: -10.5, 'O': -118}")


def frames(count=20, energy=" energy={e}", forces=":forces:R:3", tail=" 0.1 0.0 0.0", first=0):
    """Waters with labels that no method gives; another `first`, and they are other ones."""
    return "".join(
        f'3\nProperties=species:S:1:pos:R:3{forces}{energy.format(e=-157 + i / 10)} pbc="F F F"\n'
        f"O 0.0 0.0 0.0{tail}\nH {0.9 + i / 100} 0.0 0.0{tail}\nH -0.24 0.93 0.0{tail}\n"
        for i in range(first, first + count)
    )


def atoms(**energies):
    return "".join(
        f'1\nProperties=species:S:1:pos:R:3 config_type=IsolatedAtom energy={e} pbc="F F F"\n{s} 0 0 0\n'
        for s, e in energies.items()
    )


@pytest.fixture
def plan(psiflow):
    """What `psiflow train in.xyz` would do with these options."""

    def run(*arguments, text=None, code=0):
        Path("in.xyz").write_text(frames() if text is None else text)
        done = psiflow("train", "in.xyz", "--arch", "mace", "--dry-run", "--json", *arguments, code=code)
        if code:
            assert done.stderr.startswith("psiflow: ")
            assert len(done.stderr.strip().splitlines()) <= 2
            assert not Path("in.model.run").exists()
            return done.stderr
        return json.loads(done.stdout)

    return run


# --- the energies of isolated atoms -----------------------------------------------------------------------------------


def test_atomic_energies_come_from_one_atom_frames(plan):
    said = plan(text=frames() + atoms(H=-10.25, O=-118.5))
    assert said["atomic_energies"] == {"H": -10.25, "O": -118.5}
    assert said["configuration"]["E0s"] == "{1: -10.25, 8: -118.5}"
    assert (said["train"], said["valid"]) == (18, 2)


def test_missing_atomic_energies_are_named(plan):
    said = plan(code=65)
    assert "no energy of an isolated atom for H, O" in said
    assert "--e0s average" in said
    only = plan(text=frames() + atoms(O=-118.5), code=65)
    assert "isolated atom for H\n" in only
    crystal = '1\nLattice="3 0 0 0 3 0 0 0 3" Properties=species:S:1:pos:R:3:forces:R:3 energy=-3 pbc="T T T"\n'
    assert "crystals" in plan(text=frames() + atoms(O=-118.5) + crystal + "H 0 0 0 0 0 0\n", code=65)


def test_given_atomic_energies_win(plan):
    assert plan(*GIVEN)["atomic_energies"] == {"H": -10.5, "O": -118.0}
    assert plan("--e0s", "{'H': -1}", text=frames() + atoms(H=-10.25, O=-118.5))["atomic_energies"] == {
        "H": -1.0,
        "O": -118.5,
    }
    Path("atoms.xyz").write_text(atoms(H=-3, O=-4))
    assert plan("--e0s", "atoms.xyz")["atomic_energies"] == {"H": -3.0, "O": -4.0}
    Path("e0s.txt").write_text("{1: -5.0, 8: -6.0, 79: -7.0}\n")
    assert plan("--e0s", "e0s.txt")["atomic_energies"] == {"H": -5.0, "O": -6.0}


def test_an_average_only_if_asked_for(plan):
    said = plan("--e0s", "average")
    assert said["atomic_energies"] == said["configuration"]["E0s"] == "average"


def test_contradicting_atoms(plan):
    said = plan(text=frames(1) + atoms(H=-10.25, O=-118.5) + atoms(H=-10.26), code=65)
    assert "in.xyz:12: frame 4" in said
    assert "-10.26" in said
    assert "-10.25" in said
    plan(text=frames() + atoms(H=-10.25, O=-118.5) + atoms(H=-10.2500001))


@pytest.mark.parametrize(
    "text", ["avrage", "{1: nan}", "{1: 1e999}", "{999: -1}", "{'Hh': -1}", "[1, 2]", "{1: __import__('os')}"]
)
def test_e0s_that_are_none(plan, text):
    assert "--e0s" in plan("--e0s", text, code=2)


# --- the data ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "what"),
    [
        (frames(1, energy=""), "no energy"),
        (frames(1, forces="", tail=""), "no forces"),
        (frames(1, energy=" energy=nan"), "energy"),
        (frames(1, tail=" inf 0.0 0.0"), "forces"),
        (frames(1, energy=" energy=-1 REF_energy=-2"), "energy and REF_energy"),
        (frames(1, energy=" energy=low"), "energy"),
        (frames(1, energy=' energy=-1 stress="1 2 3"'), "stress"),
    ],
)
def test_frames_without_labels_are_named(plan, bad, what):
    said = plan(*GIVEN, text=frames(2) + bad, code=65)
    assert re.search(r"in\.xyz:1[1-5]: frame 3: ", said)  # its first line, its comment, or the atom
    assert what in said


def test_keys_of_other_programs(plan):
    other = frames().replace(" energy=", " my_energy=").replace(":forces:", ":my_forces:")
    assert "--keys" in plan(*GIVEN, text=other, code=65)
    plan(*GIVEN, "--keys", "energy=my_energy,forces=my_forces", text=other)
    assert "'my_forces'" in plan(*GIVEN, "--keys", "energy=my_energy,forces=my_force", text=other, code=65)
    plan(*GIVEN, text=frames().replace(" energy=", " REF_energy=").replace(":forces:", ":dft_forces:"))


def test_validation_data(plan):
    assert plan(*GIVEN, "--valid", "0.25")["valid"] == 5
    assert plan(*GIVEN, "--valid", "1e-1")["valid"] == 2
    Path("valid.xyz").write_text(frames(3, first=20))
    said = plan(*GIVEN, "--valid", "valid.xyz")
    assert (said["train"], said["valid"]) == (20, 3)
    Path("valid.xyz").write_text(frames(1, first=20) + frames(1, energy=""))
    assert "valid.xyz:6: frame 2: no energy" in plan(*GIVEN, "--valid", "valid.xyz", code=65)
    assert "none.xyz" in plan(*GIVEN, "--valid", "none.xyz", code=66)
    for share in ("0", "1", "1.5", "-0.1", "nan"):
        assert "--valid" in plan(*GIVEN, "--valid", share, code=2)
    assert "validate" in plan(*GIVEN, "--valid", "0.01", code=65)


# --- the trainer's own settings ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "what", "hint"),
    [
        ("r_maks=5", "r_maks: MACE's trainer has no such option", "'r_max'"),
        ("max_num_epochs=ten", "max_num_epochs: 'ten' is not an integer", ""),
        ("max_num_epochs=0", "max_num_epochs: 0 is not above zero", ""),
        ("lr=nan", "lr: nan is not a number", ""),
        ("lr=-1", "lr: -1.0 is not above zero", ""),
        ("stage_two_lr=0", "stage_two_lr: 0.0 is not above zero", ""),
        ("forces_weight=-10", "forces_weight: -10.0 is below zero", ""),
        ("energy_key=E", "energy_key: psiflow sets this", "--keys"),
        ("seed=3", "seed: psiflow sets this", "--seed"),
        ("E0s=average", "E0s: psiflow sets this", "--e0s"),
        ("device=cuda", "device: psiflow sets this", "site"),
        ("batch_size=1000", "batch_size 1000 is larger than the training set", ""),
        ("r_max", "'r_max' is not KEY=VALUE", ""),
    ],
)
def test_wrong_settings(plan, setting, what, hint):
    said = plan(*GIVEN, "--set", setting, code=2)
    assert what in said
    assert hint in said


def test_one_option_under_two_names(plan):
    assert "two names of the same option" in plan(*GIVEN, "--set", "swa=yes", "--set", "stage_two=no", code=2)
    Path("mace.yaml").write_text("swa: true\n")
    said = plan(*GIVEN, "--config", "mace.yaml", "--set", "stage_two=false")  # the command line wins
    assert said["configuration"]["swa"] is False


def test_sizes_follow_the_frames(plan):
    small = plan(*GIVEN)
    assert small["notes"][0].startswith("mace, size small, 18 frames to train: model MACE, num_channels 32, max_L 0")
    large = plan(*GIVEN, "--size", "large")["configuration"]
    assert (large["num_channels"], large["max_L"]) == (128, 1)
    assert plan(*GIVEN, text=frames(1200))["configuration"]["num_channels"] == 64
    Path("mace.yaml").write_text("batch_size: 4\n")
    assert "--size" in plan(*GIVEN, "--size", "large", "--config", "mace.yaml", code=2)


def test_nothing_is_added_to_a_configuration(plan):
    Path("mace.yaml").write_text("batch_size: 4\n")
    said = plan(*GIVEN, "--config", "mace.yaml")
    assert said["configuration"] == {"E0s": "{1: -10.5, 8: -118.0}", "batch_size": 4}
    assert said["notes"][0].startswith("mace: the settings of mace.yaml as they are; all others")


def test_settings_win_over_the_file(plan):
    Path("mace.yaml").write_text("r_max: 4.5\nlr: 1e-3\n")
    Path("mace.toml").write_text("r_max = 4.5\nlr = 1e-3\n")
    for name in ("mace.yaml", "mace.toml"):
        configuration = plan(*GIVEN, "--config", name, "--set", "r_max=3.5")["configuration"]
        assert (configuration["r_max"], configuration["lr"]) == (3.5, 0.001)


@pytest.mark.parametrize(
    ("name", "text", "what", "hint"),
    [
        ("a.yaml", "lr: 0.1\nr_maks: 5\n", "a.yaml:2: r_maks: MACE's trainer has no such option", "'r_max'"),
        ("a.toml", "lr = 'fast'\n", "a.toml:1: lr: 'fast' is not a number", ""),
        ("a.yaml", "seed: 3\n", "a.yaml:1: seed: psiflow sets this", "--seed"),
        ("a.yaml", "swa: true\nstage_two: false\n", "a.yaml:2: stage_two and swa: two names", "one of them"),
        ("a.yaml", "lr: 0.1\nr_max: [\n", "a.yaml:3: not valid YAML", ""),
        ("a.toml", "lr = 0.1\nr_max = \n", "a.toml:2: not valid TOML", ""),
        ("a.yaml", "- 1\n", "a.yaml: not a table of settings", ""),
    ],
)
def test_wrong_files_of_settings(plan, name, text, what, hint):
    Path(name).write_text(text)
    said = plan(*GIVEN, "--config", name, code=78)
    assert what in said
    assert hint in said


@pytest.mark.parametrize(
    ("arguments", "code", "what"),
    [
        (("--config", "none.yaml"), 66, "none.yaml"),
        (("--arch", "mase"), 2, "'mace'"),
        (("--members", "0"), 2, "--members"),
        (("--init", "none.model"), 66, "none.model"),
    ],
)
def test_wrong_usage(plan, arguments, code, what):
    assert what in plan(*GIVEN, *arguments, code=code)


def test_a_bundle_is_no_stream(psiflow):
    Path("in.xyz").write_text(frames())
    assert "--output" in psiflow("train", "in.xyz", "--arch", "mace", "-o", "-", code=2).stderr
    assert "--arch" in psiflow("train", "in.xyz", code=2).stderr


def test_only_own_bundles_are_replaced(psiflow):
    Path("in.xyz").write_text(frames())
    Path("mine.model").mkdir()
    Path("mine.model/notes").write_text("mine\n")
    said = psiflow("train", "in.xyz", "--arch", "mace", *GIVEN, "-o", "mine.model", code=73).stderr
    assert "mine.model" in said
    assert [p.name for p in Path("mine.model").iterdir()] == ["notes"]
    assert not Path("mine.model.run").exists()


# --- training ---------------------------------------------------------------------------------------------------------


def test_the_bundle_is_whole(trained):
    folder = Path(trained.model)
    facts = toml.loads((folder / "model.toml").read_text())
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert {"model.toml", "metrics.json", "learning-curve.png", "member-0/mace.model"} <= files
    assert any(name.endswith(".log") for name in files)
    assert facts["weights"] == {
        "member-0/mace.model": hashlib.sha256((folder / "member-0/mace.model").read_bytes()).hexdigest()
    }
    run = Path(trained.model + ".run")
    data = (run / "train.xyz").read_bytes() + (run / "valid.xyz").read_bytes()
    assert facts["data_sha256"] == hashlib.sha256(data).hexdigest()
    assert (facts["family"], facts["members"], facts["elements"]) == ("mace", 1, ["H", "O"])
    assert (facts["cutoff"], facts["dtype"]) == (4.0, "float64")
    assert facts["configuration"]["num_channels"] == 8
    assert facts["train_frames"] + facts["valid_frames"] == 56
    assert (folder / "learning-curve.png").read_bytes().startswith(b"\x89PNG\r\n")
    assert not [p for p in folder.parent.iterdir() if p.name.startswith(".")], "something was left beside it"


def test_errors_fall(trained):
    curve = json.loads((Path(trained.model) / "metrics.json").read_text())["curves"][0]
    assert [epoch["epoch"] for epoch in curve] == list(range(30))
    assert min(epoch["rmse_f_meV_per_A"] for epoch in curve) < 0.5 * curve[0]["rmse_f_meV_per_A"]
    assert curve[-1]["rmse_f_meV_per_A"] < 300


@pytest.mark.full
def test_mace_itself_opens_the_weights(trained):
    ase_io = pytest.importorskip("ase.io")
    calculators = pytest.importorskip("mace.calculators")
    import mace

    facts = toml.loads((Path(trained.model) / "model.toml").read_text())
    assert facts["trainer"] == f"mace-torch {mace.__version__}"
    (weights,) = Path(trained.model).glob("member-0/*.model")
    calculator = calculators.MACECalculator(model_paths=str(weights), device="cpu", default_dtype="float64")
    for atoms in ase_io.read(trained.train, ":"):
        if len(atoms) == 1:  # the energies of isolated atoms are those of the data, not fitted
            assert facts["atomic_energies"][atoms.symbols[0]] == atoms.get_potential_energy()
            continue
        reference = atoms.get_potential_energy()
        atoms.calc = calculator
        assert atoms.get_potential_energy() == pytest.approx(reference, abs=0.15 * len(atoms))


@pytest.mark.full
def test_training_survives_a_kill(psiflow, start, trained, tmp_path):
    """Killed and started again it gives the bytes of the uninterrupted training, and no epoch is trained twice."""
    partial, over = [], threading.Event()

    def watch():
        while not over.wait(0.02):
            if Path(tmp_path, "killed.model").exists():
                try:
                    bundle.load(str(tmp_path / "killed.model"))
                except Exception as error:
                    partial.append(str(error))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        process = start(*trained.arguments, "-o", "killed.model")
        deadline = time.monotonic() + 120
        running = {}
        while running.get("done", 0) < 4:
            assert time.monotonic() < deadline
            assert process.poll() is None, process.communicate()
            time.sleep(0.2)
            runs = json.loads(psiflow("status", "--json").stdout)
            running = runs[0] if runs else {}
        text = psiflow("status").stdout
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert (running["state"], running["command"], running["total"]) == ("running", "train", 30)
        assert running["info"]["epoch"] >= 3
        assert running["phase"] == "training"
        assert running["info"]["rmse_f_meV_per_A"] > 0
        assert re.search(r"E [0-9.]+ meV/atom, F [0-9.]+ meV/Å, loss [0-9.]+", text)
        assert max(map(len, text.splitlines())) <= 80
        assert not Path("killed.model").exists()
        dead = json.loads(psiflow("status", "killed.model", "--json").stdout)[0]
        assert dead["state"] == "dead"
        (results,) = Path("killed.model.run").rglob("*_train.txt")
        before = epochs(results)
        assert 4 <= len(before) < 30
        shown = psiflow(*trained.arguments, "-o", "killed.model").stdout
    finally:
        over.set()
        watcher.join()
    assert not partial
    best = json.loads(Path("killed.model/metrics.json").read_text())["metrics"]["member-0"]
    assert f"{best['epoch']:>6}{best['rmse_e_meV_per_atom']:10.3f}" in shown
    assert shown.splitlines()[-1] == "learning curve: killed.model/learning-curve.png"
    after = epochs(results)
    assert after[: len(before)] == before
    assert set(after) == set(range(30))
    assert len(after) <= 31, "more than the epoch that was not saved yet was trained twice"
    whole, killed = (bundle.load(name) for name in (trained.model, "killed.model"))
    assert killed.facts["weights"] == whole.facts["weights"]
    assert killed.facts["data_sha256"] == whole.facts["data_sha256"]
    assert json.loads(psiflow("status", "killed.model", "--json").stdout)[0]["done"] == 30
    again = psiflow(*trained.arguments, "-o", "killed.model")
    assert "up to date" in again.stderr
    assert epochs(results) == after
    (Path("killed.model") / "metrics.json").write_text("{}")
    assert "killed.model" in psiflow(*trained.arguments, "-o", "killed.model", code=73).stderr


def epochs(results):
    """The validated epochs in MACE's own record, in order."""
    entries = [json.loads(line) for line in results.read_text().splitlines(keepends=True) if line.endswith("\n")]
    return [entry["epoch"] for entry in entries if entry["mode"] == "eval" and entry["epoch"] is not None]


@pytest.mark.full
def test_a_committee_disagrees(psiflow, trained):
    np = pytest.importorskip("numpy")
    ase_io = pytest.importorskip("ase.io")
    calculators = pytest.importorskip("mace.calculators")
    few = [word for word in trained.arguments if not word.startswith("max_num_epochs")][:-1]
    more = ("--set", "max_num_epochs=2", "--members", 2, "--seed", 3, "--site", "local", "-v", "-o", "two.model")
    here = detect.machine()
    at_once = max(1, min(2, here.cores, here.memory_mb // 4096))
    assert f"training 2 models, {at_once} at a time, each on" in psiflow(*few, *more).stderr
    facts = bundle.load("two.model").facts
    assert facts["members"] == 2
    assert set(facts["weights"]) == {"member-0/mace.model", "member-1/mace.model"}
    assert len(set(facts["weights"].values())) == 2, "the members are the same model"
    assert len(json.loads(Path("two.model/metrics.json").read_text())["curves"]) == 2
    psiflow("evaluate", trained.test, "--model", "two.model", "-o", "out.xyz")
    for atoms in ase_io.read("out.xyz", ":"):
        energies, forces = [], []
        for member in (0, 1):
            path = f"two.model/member-{member}/mace.model"
            atoms.calc = calculators.MACECalculator(model_paths=path, device="cpu", default_dtype="float64")
            energies.append(atoms.get_potential_energy())
            forces.append(atoms.get_forces())
        assert atoms.info["model_energy"] == pytest.approx(np.mean(energies), abs=1e-8)
        assert atoms.info["model_energy_std"] == pytest.approx(np.std(energies), abs=1e-8)
        assert atoms.info["model_energy_std"] > 1e-6
        assert atoms.arrays["model_forces"] == pytest.approx(np.mean(forces, axis=0), abs=1e-8)
        spread = np.linalg.norm(np.std(forces, axis=0), axis=1)
        assert atoms.arrays["model_forces_std"] == pytest.approx(spread, abs=1e-8)
