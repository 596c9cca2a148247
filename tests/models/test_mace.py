"""MACE through the seam: its real trainer, killed and gone on, and predictions equal to its own calculator's."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from psiflow_cli.errors import BadData, BadSettings, UsageError
from psiflow_cli.models import mace
from psiflow_cli.models.mace import graphs, options, training, tuning
from psiflow_cli.models.mace.labels import relabel
from psiflow_cli.stages.train.config import read
from psiflow_cli.worker.failures import Fatal
from psiflow_cli.worker.training import stop_request

pytest.importorskip("mace", reason="mace-torch is not installed")

Wire = dict[str, Any]

CONTEXT: Wire = {"device": "cpu", "dtype": None, "threads": 1, "cores": 1, "env": {}}
TINY = {"num_channels": 4, "r_max": 4.0, "max_ell": 1, "correlation": 1, "batch_size": 3, "valid_batch_size": 4}
EIGHT_EPOCHS = {**TINY, "max_num_epochs": 8, "start_swa": 4}


def make_frames() -> list[Any]:
    """Rattled copper, periodic with stress, and clusters without, labelled by ASE's EMT."""
    from ase.build import bulk
    from ase.calculators.emt import EMT
    from ase.cluster import Icosahedron

    frames = []
    for seed in range(16):
        if seed % 2:
            atoms = Icosahedron("Cu", 2)
            atoms.symbols[seed % 13] = "Au"
        else:
            atoms = bulk("Cu", cubic=True) * (1, 1, 2)
            atoms.symbols[0] = "Au"
            atoms.set_cell(atoms.cell * [1.0, 1.02, 0.99], scale_atoms=True)
        atoms.rattle(0.08, seed=seed)
        atoms.calc = EMT()
        atoms.get_potential_energy()
        atoms.get_forces()
        if atoms.pbc.all():
            atoms.get_stress()
        frames.append(atoms)
    return frames


def wire(atoms: Any) -> Wire:
    """A frame as it crosses the wire."""
    cell = atoms.cell.tolist() if atoms.pbc.any() else None
    positions = atoms.positions.tolist()
    return {"symbols": list(atoms.symbols), "positions": positions, "cell": cell, "pbc": atoms.pbc.tolist()}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, warm_mace: None) -> Wire:
    """Training and validation files, and the summary that goes with them."""
    from ase import Atoms
    from ase.calculators.emt import EMT
    from ase.io import write

    folder = tmp_path_factory.mktemp("data")
    frames = make_frames()
    e0s = {}
    for symbol in ("Cu", "Au"):
        atom = Atoms(symbol, info={"config_type": "IsolatedAtom"}, calculator=EMT())
        e0s[symbol] = atom.get_potential_energy()
        frames.insert(0, atom)
    write(folder / "train.xyz", frames[:-4], format="extxyz")
    write(folder / "valid.xyz", frames[-4:], format="extxyz")
    summary = {"elements": ["Au", "Cu"], "frames": 12, "valid_frames": 4, "stress": True, "periodic": True, "e0s": e0s}
    return {
        "train": str(folder / "train.xyz"),
        "valid": str(folder / "valid.xyz"),
        "summary": summary,
        "frames": frames,
    }


def make_job(data: Wire, folder: Path, config: Wire, seed: int = 5) -> Wire:
    planned = mace.plan(config, {}, data["summary"])
    return {"workdir": str(folder), "train": data["train"], "valid": data["valid"], "config": planned, "seed": seed}


@pytest.fixture(scope="module")
def trained(data: Wire, tmp_path_factory: pytest.TempPathFactory) -> tuple[Wire, Wire]:
    """An uninterrupted training: its job and its result."""
    job = make_job(data, tmp_path_factory.mktemp("trained"), EIGHT_EPOCHS)
    return job, mace.train(job, CONTEXT)


def weights(path: str | Path) -> dict[str, Any]:
    import torch

    model: Any = torch.load(path, weights_only=False)
    return dict(model.state_dict())


def same(first: dict[str, Any], second: dict[str, Any]) -> bool:
    return first.keys() == second.keys() and all(bool((first[k] == second[k]).all()) for k in first)


# --- the plan ---------------------------------------------------------------------------------------------------------

SUMMARY: Wire = {
    "elements": ["C", "H"], "frames": 450, "valid_frames": 50, "stress": False, "periodic": False,
    "e0s": {"H": -13.6, "C": -1029.5},
}  # fmt: skip


def test_the_options_are_those_of_the_installed_trainer() -> None:
    from mace.tools import build_default_arg_parser

    actions = [action for action in build_default_arg_parser()._actions if action.dest != "help"]
    names = {name[2:] for action in actions for name in action.option_strings if name.startswith("--")}
    assert set(options.KINDS) == names
    flags = {n[2:] for a in actions if a.nargs == 0 for n in a.option_strings if n.startswith("--")}
    assert set(options.FLAGS) == flags
    said = {*options.OWNED, *options.UNUSED, *options.ONLY, *options.NEVER, *tuning.NEEDS_MODEL, *options.PACKAGES}
    assert said | set(options.FILES) <= names
    assert not options.OWNED.keys() & options.UNUSED.keys()
    same_option = {o[2:]: a.dest for a in actions for o in a.option_strings if a.dest != o[2:] and a.dest in names}
    assert same_option == options.OLD_NAMES


def test_defaults_fit_the_data() -> None:
    plan = mace.plan({}, {}, SUMMARY)
    assert plan["batch_size"] == 5
    assert plan["loss"] == "weighted"
    assert plan["default_dtype"] == "float64"
    assert plan["E0s"] == "{1: -13.6, 6: -1029.5}"
    assert 0 < plan["start_swa"] < plan["max_num_epochs"] == mace.epochs(plan)
    assert plan == json.loads(json.dumps(plan))
    assert mace.plan({}, {}, {**SUMMARY, "stress": True})["loss"] == "stress"
    assert mace.plan({}, {}, {**SUMMARY, "e0s": "average"})["E0s"] == "average"
    assert mace.plan({}, {}, {**SUMMARY, "e0s": {1: -13.6, "6": -1029.5}})["E0s"] == plan["E0s"]
    assert mace.plan({}, {}, {**SUMMARY, "dtype": "float32"})["default_dtype"] == "float32"
    assert mace.plan({}, {}, {**SUMMARY, "frames": 1})["batch_size"] == 1


def test_a_loss_of_stresses_that_are_not_there_is_noted() -> None:
    for loss in ("stress", "virials", "huber", "universal"):
        plan = mace.plan({}, {"loss": loss}, SUMMARY)
        assert mace.notes(plan, SUMMARY) == [
            f"loss: {loss}, but no frame has a stress that can be used: only energies and forces are trained on"
        ]
    assert mace.notes(mace.plan({}, {}, SUMMARY), SUMMARY) == []
    some = {**SUMMARY, "some_stress": True}
    assert mace.notes(mace.plan({}, {"loss": "huber"}, some), some) == []
    assert mace.notes({}, {**SUMMARY, "dtype": "float32"}) == ["trained in float64, not in float32 as the site asks"]
    assert mace.notes({}, some) == ["loss: weighted ignores the stresses of the frames"]
    with pytest.raises(UsageError, match="psiflow gives MACE the stress"):
        mace.plan({}, {"loss": "virials"}, some)


def test_set_wins_over_the_file_and_the_file_over_the_defaults() -> None:
    plan = mace.plan({"r_max": 6, "lr": "1e-3"}, {"r_max": "4.5", "swa": "no", "gate": "'tanh'"}, SUMMARY)
    assert (plan["r_max"], plan["lr"], plan["swa"], plan["gate"]) == (4.5, 0.001, False, "tanh")
    assert "start_swa" not in plan
    stages = mace.plan({"start_stage_two": 7, "stage_two_lr": 0.1}, {}, SUMMARY)
    assert (stages["start_swa"], stages["swa_lr"]) == (7, 0.1)
    assert "num_channels" not in mace.plan({"hidden_irreps": "16x0e"}, {}, SUMMARY)
    assert mace.plan({}, {"clip_grad": "None"}, SUMMARY)["clip_grad"] == "None"
    assert "lr" not in mace.plan({"lr": None}, {}, SUMMARY)
    assert mace.plan({"lr_params_factors": {"a": 1}}, {}, SUMMARY)["lr_params_factors"] == "{'a': 1}"
    plan = mace.plan({"r_max": "6", "batch_size": "4", "plot": "yes", "ema": 1, "lr": "fast"}, {"lr": "0.1"}, SUMMARY)
    assert (plan["r_max"], plan["batch_size"], plan["plot"], plan["ema"], plan["lr"]) == (6.0, 4, True, True, 0.1)


@pytest.mark.parametrize(
    ("key", "value", "message", "hint"),
    [
        ("E0s", "average", "E0s: psiflow sets", "--e0s"),
        ("seed", "3", "seed: psiflow sets", "--seed"),
        ("valid_file", "a.xyz", "valid_file: psiflow sets", "--valid"),
        ("model_dir", "there", "model_dir: psiflow sets", "-o"),
        ("num_chanels", "3", "num_chanels: MACE's trainer has no such option", "num_channels"),
        ("r_max", "far", "r_max: 'far' is not a number", ""),
        ("batch_size", "2.5", "batch_size: '2.5' is not an integer", ""),
        ("ema", "maybe", "ema: 'maybe' is not true or false", ""),
        ("amsgrad", "false", "amsgrad: false is not possible", "schedulefree"),
        ("foundation_model", "small", "foundation_model: psiflow sets", "--init"),
        ("multiheads_finetuning", "true", "multiheads_finetuning: true is not possible", "replay"),
        ("pt_train_file", "mp", "pt_train_file: would have no effect", "replay"),
        ("heads", "{}", "heads: psiflow sets", "head=NAME"),
        ("foundation_head", "a", "foundation_head: psiflow sets", "--head"),
        ("keep_isolated_atoms", "true", "keep_isolated_atoms: true is not possible", "atomic energies"),
        ("embedding_specs", "{}", "embedding_specs: would have no effect", "mace_run_train"),
        ("loss", "dipole", "loss: dipole needs other labels", "mace_run_train"),
        ("batch_size", "451", "batch_size 451 is larger than the training set (450 frames)", "batch_size=450 or less"),
    ],
)
def test_wrong_options_are_refused_with_what_to_use(key: str, value: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        mace.plan({}, {key: value}, SUMMARY)
    assert message in caught.value.message
    assert hint in caught.value.hint
    with pytest.raises(UsageError, match="r_max: True is not a number"):
        mace.plan({"r_max": True}, {}, SUMMARY)


def test_all_that_is_refused_is_said_at_once() -> None:
    wrong = {"r_maks": 5, "seed": 3, "lr": "fast", "swa": True, "stage_two": False, "multiheads_finetuning": True}
    with pytest.raises(BadSettings) as caught:
        mace.plan(wrong, {"num_chanels": "3"}, SUMMARY)
    keys = ["r_maks", "seed", "lr", "stage_two", "num_chanels", "multiheads_finetuning"]
    assert [refusal.key for refusal in caught.value.refusals] == keys
    assert all(key in caught.value.message for key in keys)


@pytest.mark.parametrize(("size", "channels"), [("small", (32, 0)), ("medium", (64, 1)), ("large", (128, 1))])
def test_sizes(size: str, channels: tuple[int, int]) -> None:
    plan = mace.plan({}, {"max_ell": "2"}, {**SUMMARY, "size": size})
    assert (plan["num_channels"], plan["max_L"], plan["max_ell"]) == (*channels, 2)


def test_packages_beside_mace_are_named() -> None:
    assert mace.packages(mace.plan({}, {}, SUMMARY)) == {}
    plan = mace.plan({"wandb": True, "enable_cueq": False, "optimizer": "schedulefree"}, {}, SUMMARY)
    assert mace.packages(plan) == {"wandb": "wandb", "schedulefree": "optimizer: schedulefree"}


USERS = """
r_max: 4
num_channels: "4"
max_L: 0
max_ell: 1
correlation: 1
lr: 1e-3
swa: yes
ema: "true"
radial_MLP: "[8, 8]"
lr_params_factors: '{"embedding_lr_factor": 2.0, "interactions_lr_factor": 1, "products_lr_factor": 1,
                     "readouts_lr_factor": 1}'
clip_grad: None
batch_size: 3
weight_decay:
plot: "no"
pair_repulsion: false
max_num_epochs: 3
"""
OWN = {"name": "mace", "seed": 5, "model_dir": "models", "train_file": "train.xyz", "valid_file": "valid.xyz"}


def as_given(data: Wire, folder: Path, more: str = "") -> tuple[Wire, list[str]]:
    """The job of a configuration file of the user's, and the arguments by which MACE's own command would do it."""
    folder.mkdir()
    (folder / "user.yaml").write_text(USERS + more)
    table = read(str(folder / "user.yaml")).table
    planned = mace.plan(table, {}, {**data["summary"], "as_given": True, "dtype": "float32"})
    job = {"workdir": str(folder), "train": data["train"], "valid": data["valid"], "config": planned, "seed": 5}
    words = [f"--{key}={value}" for key, value in {**OWN, "E0s": planned["E0s"]}.items()]
    return job, ["--config", "user.yaml", *words]


def test_a_configuration_is_what_mace_reads_of_it(data: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every option has the value that the user's own command gives it; nothing but what psiflow owns is added."""
    from mace.tools import build_default_arg_parser

    les = tmp_path / "les.yaml"
    les.write_text("sigma: 1.0\n")
    job, arguments = as_given(data, tmp_path / "a", f"les_arguments: {les}\n")
    training._prepare(tmp_path / "a", {**job, "files": {str(les): str(les)}}, CONTEXT)
    monkeypatch.chdir(tmp_path / "a")
    ours, theirs = (
        vars(build_default_arg_parser().parse_args(words)) for words in (["--config", "mace.yaml"], arguments)
    )
    assert {key: value for key, value in ours.items() if theirs[key] != value} == {"config": "mace.yaml"}
    assert ours["les_arguments"] == {"sigma": 1.0}
    assert ours["weight_decay"] == 5e-7


@pytest.mark.full
def test_a_configuration_trains_as_mace_s_own_command(data: Wire, tmp_path: Path) -> None:
    job, arguments = as_given(data, tmp_path / "ours")
    result = mace.train(job, CONTEXT)
    alone = tmp_path / "alone"
    alone.mkdir()
    for name in ("train.xyz", "valid.xyz", "user.yaml"):
        (alone / name).write_bytes((tmp_path / "ours" / name).read_bytes())
    command = [sys.executable, "-m", "mace.cli.run_train", *arguments]
    subprocess.run(command, cwd=alone, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True, capture_output=True)
    own = {"lr", "stage"}  # psiflow's addition to MACE's results
    epochs = [{key: epoch[key] for key in epoch.keys() - own} for epoch in mace.progress(tmp_path / "ours")]
    assert mace.progress(alone) == epochs
    assert len(epochs) == 3
    assert same(weights(alone / "models" / "mace_stagetwo.model"), weights(result["weights"][0]))
    logged = []
    for folder in (alone, tmp_path / "ours"):
        (log,) = folder.glob("logs/*_debug.log")
        (line,) = (line for line in log.read_text().splitlines() if "Configuration: Namespace" in line)
        logged.append(re.sub(r"config='\w+.yaml'|restart_latest=\w+", "", line.partition("Namespace")[2]))
    assert logged[0] == logged[1]
    recorded = result["configuration"]
    assert (recorded["ema"], recorded["lr"], recorded["start_swa"], recorded["patience"]) == (True, 0.001, 1, 2048)


def test_an_element_without_atomic_energy_is_named() -> None:
    with pytest.raises(BadData, match="no atomic energy for C"):
        mace.plan({}, {}, {**SUMMARY, "e0s": {"H": -13.6}})


def test_the_command_s_process_imports_nothing_heavy() -> None:
    code = "import sys, psiflow_cli.models.mace; print(sorted({'numpy', 'ase', 'torch', 'mace'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


# --- the data ---------------------------------------------------------------------------------------------------------


def test_mace_reads_the_labels_and_leaves_missing_ones_out(data: Wire, tmp_path: Path) -> None:
    from mace.data import KeySpecification, load_from_xyz

    assert relabel(Path(data["train"]), tmp_path / "train.xyz") == 12
    keys = {"energy": "REF_energy", "stress": "REF_stress", "head": "head"}
    spec = KeySpecification(info_keys=keys, arrays_keys={"forces": "REF_forces"})
    e0s, configs = load_from_xyz(str(tmp_path / "train.xyz"), spec, extract_atomic_energies=True)
    assert e0s == {}
    originals = data["frames"][2:14]
    assert len(configs) == len(originals) == 12
    for config, atoms in zip(configs, originals, strict=True):
        assert config.properties["energy"] == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
        assert config.properties["forces"] == pytest.approx(atoms.get_forces(), abs=1e-7)
        assert config.property_weights["stress"] == float(atoms.pbc.all())
        if atoms.pbc.all():
            stress = atoms.get_stress(voigt=False).ravel()
            assert config.properties["stress"].ravel() == pytest.approx(stress, abs=1e-9)


def test_only_the_labels_are_renamed(tmp_path: Path) -> None:
    comment = 'Lattice="9 0 0 0 9 0 0 0 9" Properties=species:S:1:pos:R:3:REF_forces:R:3:forces:R:3 energy=-1.5 '
    (tmp_path / "in.xyz").write_text(
        f'1\n{comment}note="energy=3 \\"a\\"" REF_energy=7 pbc="T T T"\nH 0 0 0 1 1 1 2 2 2\n'
    )
    relabel(tmp_path / "in.xyz", tmp_path / "out.xyz")
    changed = comment.replace("REF_forces", "input_REF_forces").replace(":forces", ":REF_forces")
    changed = changed.replace("energy", "REF_energy")
    expected = f'1\n{changed}note="energy=3 \\"a\\"" input_REF_energy=7 pbc="T T T"\nH 0 0 0 1 1 1 2 2 2\n'
    assert (tmp_path / "out.xyz").read_text() == expected


# --- training ---------------------------------------------------------------------------------------------------------


def test_what_a_training_returns(trained: tuple[Wire, Wire], data: Wire) -> None:
    job, result = trained
    assert result["elements"] == ["Cu", "Au"]
    assert (result["cutoff"], result["dtype"]) == (4.0, "float64")
    assert result["trainer"].startswith("mace-torch 0.")
    assert result["atomic_energies"] == pytest.approx(data["summary"]["e0s"], abs=1e-12)
    assert [Path(p).name for p in result["weights"]] == ["mace.model"]
    assert all(Path(p).is_file() for p in result["logs"])
    epochs = mace.progress(Path(job["workdir"]))
    assert [e["epoch"] for e in epochs] == list(range(8))
    assert all(math.isfinite(e["loss"]) and e["rmse_stress_meV_per_A3"] > 0 for e in epochs)
    assert result["metrics"] == min(epochs[4:], key=lambda e: float(e["valid_loss"]))
    recorded = result["configuration"]
    assert {key: recorded[key] for key in job["config"]} == job["config"]
    # MACE's own defaults, what it makes of the options given, and nothing of where it ran
    assert (recorded["lr_factor"], recorded["seed"], recorded["error_table"]) == (0.8, 5, "PerAtomRMSEstressvirials")
    assert not [key for key in recorded if key.endswith(("_dir", "_file"))]
    assert recorded == json.loads(json.dumps(recorded))


def test_the_metrics_are_the_model_s_errors_on_the_validation_data(trained: tuple[Wire, Wire], data: Wire) -> None:
    import numpy as np

    frames = data["frames"][-4:]
    member = str(Path(trained[1]["weights"][0]).parent)
    predicted = mace.predict([wire(a) for a in frames], [member], CONTEXT)[0]
    forces = np.concatenate([np.subtract(p["forces"], a.get_forces()) for p, a in zip(predicted, frames, strict=True)])
    stress = [np.subtract(p["stress"], a.get_stress())[[0, 1, 2, 3, 3, 4, 4, 5, 5]]
              for p, a in zip(predicted, frames, strict=True) if p["stress"]]  # fmt: skip
    energy = [(p["energy"] - a.get_potential_energy()) / len(a) for p, a in zip(predicted, frames, strict=True)]
    metrics = trained[1]["metrics"]
    assert 1e3 * np.sqrt(np.mean(np.square(energy))) == pytest.approx(metrics["rmse_e_meV_per_atom"], rel=1e-6)
    assert 1e3 * np.sqrt(np.mean(np.square(forces))) == pytest.approx(metrics["rmse_f_meV_per_A"], rel=1e-6)
    assert 1e3 * np.sqrt(np.mean(np.square(stress))) == pytest.approx(metrics["rmse_stress_meV_per_A3"], rel=1e-6)


def test_the_trainer_s_own_command_gives_the_same_model(trained: tuple[Wire, Wire], tmp_path: Path) -> None:
    source = Path(trained[0]["workdir"])
    for name in ("mace.yaml", "train.xyz", "valid.xyz"):
        (tmp_path / name).write_bytes((source / name).read_bytes())
    command = [sys.executable, "-m", "mace.cli.run_train", "--config", "mace.yaml"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    assert same(weights(tmp_path / "models" / "mace_stagetwo.model"), weights(trained[1]["weights"][0]))


WORKER = """
import json, sys
from psiflow_cli.models import mace
mace.train(**json.load(open(sys.argv[1])))
"""


@pytest.mark.full
def test_killed_at_any_epoch_it_ends_with_the_same_weights(trained: tuple[Wire, Wire], tmp_path: Path) -> None:
    job = {**trained[0], "workdir": str(tmp_path / "work")}
    (tmp_path / "payload.json").write_text(json.dumps({"job": job, "context": CONTEXT}))
    results = tmp_path / "work" / "results" / "mace_run-5_train.txt"
    for finished in (2, 5):
        worker = subprocess.Popen([sys.executable, "-c", WORKER, str(tmp_path / "payload.json")])
        deadline = time.monotonic() + 120
        while len(mace.progress(tmp_path / "work")) < finished and time.monotonic() < deadline:
            time.sleep(0.005)
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        before = [e["epoch"] for e in mace.progress(tmp_path / "work")]
        assert finished <= len(before) < 8, "the test was too slow to interrupt the training"
        time.sleep(0.3)  # the trainer dies with the worker, before it writes another epoch
        assert [e["epoch"] for e in mace.progress(tmp_path / "work")] == before
        with results.open("a") as file:
            file.write('{"loss": 1.0, "ti')  # torn by the kill
    again = mace.train(job, CONTEXT)
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    saved = [entry["epoch"] for entry in lines if entry["mode"] == "eval" and entry["epoch"] is not None]
    assert all(saved.count(epoch) <= 2 for epoch in range(8))
    assert len(saved) <= 8 + 2
    assert Path(again["weights"][0]).read_bytes() == Path(trained[1]["weights"][0]).read_bytes()
    assert mace.progress(tmp_path / "work") == mace.progress(Path(trained[0]["workdir"]))
    assert again["metrics"] == trained[1]["metrics"]


def test_a_finished_training_is_not_run_again(trained: tuple[Wire, Wire]) -> None:
    job, result = trained
    start = time.monotonic()
    assert mace.train(job, CONTEXT) == result
    assert time.monotonic() - start < 1.0


def test_the_best_model_so_far_needs_no_trainer(trained: tuple[Wire, Wire], tmp_path: Path) -> None:
    """Without time, or when a stop is asked for, what a killed training has left is delivered at once."""
    shutil.copytree(trained[0]["workdir"], tmp_path / "work")
    job, facts = {**trained[0], "workdir": str(tmp_path / "work")}, tmp_path / "work" / "facts.json"
    facts.write_text(facts.read_text().replace('"finished": true', '"finished": false'))
    stop_request.prepare(tmp_path / "work")
    start = time.monotonic()
    without_time = mace.train({**job, "seconds": 0.0}, CONTEXT)
    stop_request.ask(tmp_path / "work")
    asked = mace.train(job, CONTEXT)
    assert time.monotonic() - start < 1.0
    assert asked == without_time == mace.delivered(tmp_path / "work")
    assert (asked["finished"], asked["stage"]) == (False, 2)
    assert asked["metrics"] == trained[1]["metrics"]
    assert weights(asked["weights"][0]).keys() == weights(trained[1]["weights"][0]).keys()
    stop_request.ask(tmp_path)
    with pytest.raises(Fatal, match="stopped before the first model was written") as caught:
        mace.train({**job, "workdir": str(tmp_path)}, CONTEXT)
    assert caught.value.exit_code == 75


def test_init_begins_with_the_given_weights_and_energies(
    data: Wire, trained: tuple[Wire, Wire], tmp_path: Path
) -> None:
    member = str(Path(trained[1]["weights"][0]).parent)
    e0s = {symbol: energy + 0.5 for symbol, energy in data["summary"]["e0s"].items()}
    other = {**data, "summary": {**data["summary"], "e0s": e0s}}
    job = {**make_job(other, tmp_path, {**TINY, "max_num_epochs": 1, "lr": 1e-12, "swa": False}), "init": member}
    tuned = mace.train(job, CONTEXT)
    assert tuned["atomic_energies"] == pytest.approx(e0s), "the energies are those of the model, not those asked for"
    assert tuned["metrics"]["rmse_f_meV_per_A"] == pytest.approx(trained[1]["metrics"]["rmse_f_meV_per_A"], rel=1e-5)
    assert [e["epoch"] for e in mace.progress(tmp_path)] == [0]
    with pytest.raises(Fatal, match="walltime") as caught:  # another seed: nothing of the first training is used
        mace.train({**job, "seed": 6}, {**CONTEXT, "walltime": 0.1})
    assert caught.value.exit_code == 75
    assert mace.progress(tmp_path) == []
    assert not list(tmp_path.glob("weights/*"))


@pytest.mark.parametrize(
    ("config", "message", "code"),
    [({"loss": "fancy"}, "--loss: invalid choice: 'fancy'", 78), ({"max_num_epochs": 1, "lr": 1e200}, "diverged", 65)],
)
def test_a_failed_training_says_why(data: Wire, tmp_path: Path, config: Wire, message: str, code: int) -> None:
    with pytest.raises(Fatal) as caught:
        mace.train(make_job(data, tmp_path, {**TINY, **config}), CONTEXT)
    assert message in caught.value.message
    assert caught.value.exit_code == code
    assert len(caught.value.message.splitlines()) == 1


def test_a_missing_atomic_energy_is_bad_data(data: Wire, tmp_path: Path) -> None:
    job = make_job(data, tmp_path, EIGHT_EPOCHS)
    job["config"]["E0s"] = "{29: 3.5}"
    with pytest.raises(Fatal, match="79") as caught:
        mace.train(job, CONTEXT)
    assert caught.value.exit_code == 65


# --- progress ---------------------------------------------------------------------------------------------------------


def test_progress_of_a_torn_and_resumed_file(tmp_path: Path) -> None:
    assert mace.progress(tmp_path) == []
    (tmp_path / "results").mkdir()
    path = tmp_path / "results" / "mace_run-1_train.txt"

    def opt(epoch: int, loss: float) -> str:
        return json.dumps({"loss": loss, "time": 0.1, "mode": "opt", "epoch": epoch}) + "\n"

    def evaluation(epoch: int | None, loss: float) -> str:
        return json.dumps({"loss": loss, "rmse_f": 0.25, "mode": "eval", "epoch": epoch}) + "\n"

    path.write_text(evaluation(None, 9.0) + opt(0, 4.0) + opt(0, 2.0) + evaluation(0, 3.0) + opt(1, 9.0) + '{"lo')
    assert mace.progress(tmp_path) == [{"epoch": 0, "loss": 3.0, "valid_loss": 3.0, "rmse_f_meV_per_A": 250.0}]
    path.write_text(
        path.read_text()[:-4] + evaluation(None, 3.0) + opt(1, 1.0) + evaluation(1, 2.0) + evaluation(1, 1.5)
    )
    assert [(e["epoch"], e["loss"], e["valid_loss"]) for e in mace.progress(tmp_path)] == [
        (0, 3.0, 3.0),
        (1, None, 1.5),
    ]


# --- predictions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 2])  # one by one, and in batches
def test_predictions_are_those_of_mace_s_calculator(trained: tuple[Wire, Wire], data: Wire, threads: int) -> None:
    from ase import Atoms
    from mace.calculators import MACECalculator

    path = trained[1]["weights"][0]
    reference = MACECalculator(model_paths=path, default_dtype="float64")
    frames = [a.copy() for a in data["frames"]]  # periodic, clusters and single atoms, mixed
    slab = Atoms("Cu2", [[0, 0, 0], [0.3, 0.2, 2.4]], cell=[3.1, 3.2, 20], pbc=[True, True, False])
    frames.append(slab)
    context = {**CONTEXT, "threads": threads}
    predicted = mace.predict([wire(a) for a in frames], [str(Path(path).parent)], context)[0]
    for atoms, label in zip(frames, predicted, strict=True):
        atoms.calc = reference
        assert label["energy"] == pytest.approx(atoms.get_potential_energy(), abs=1e-8)
        assert label["forces"] == [pytest.approx(row, abs=1e-8) for row in atoms.get_forces().tolist()]
        if atoms.pbc.all():
            assert label["stress"] == pytest.approx(atoms.get_stress().tolist(), abs=1e-10)
        else:
            assert label["stress"] is None


def test_stress_is_the_strain_derivative_of_the_energy(trained: tuple[Wire, Wire], data: Wire) -> None:
    import numpy as np

    member = str(Path(trained[1]["weights"][0]).parent)
    atoms = next(a for a in data["frames"] if a.pbc.all()).copy()
    strains = {0: (0, 0), 2: (2, 2), 3: (1, 2), 5: (0, 1)}
    stress = mace.predict([wire(atoms)], [member], CONTEXT)[0][0]["stress"]
    for component, (i, j) in strains.items():
        energies = []
        for step in (1e-4, -1e-4):
            strain = np.eye(3)
            strain[i, j] += step / 2
            strain[j, i] += step / 2
            moved = atoms.copy()
            moved.set_cell(atoms.cell @ strain, scale_atoms=True)
            energies.append(mace.predict([wire(moved)], [member], CONTEXT)[0][0]["energy"])
        assert stress[component] == pytest.approx((energies[0] - energies[1]) / 2e-4 / atoms.get_volume(), abs=1e-6)


def test_with_one_thread_a_frame_s_numbers_do_not_depend_on_its_company(trained: tuple[Wire, Wire], data: Wire) -> None:
    member = [str(Path(trained[1]["weights"][0]).parent)]
    frames = [wire(a) for a in data["frames"]]
    together = mace.predict(frames, member, CONTEXT)[0]
    assert together == [mace.predict([frame], member, CONTEXT)[0][0] for frame in frames]


def test_what_does_not_fit_into_memory_is_halved(
    trained: tuple[Wire, Wire], data: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    member = [str(Path(trained[1]["weights"][0]).parent)]
    frames = [wire(a) for a in data["frames"]]
    expected = mace.predict(frames, member, CONTEXT)[0]
    forward = graphs.forward

    def small(batch: list[Wire], made: Any, model: Any) -> list[Wire]:
        if len(batch) > 3 or any(len(frame["symbols"]) == 8 for frame in batch):
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return forward(batch, made, model)

    monkeypatch.setattr(graphs, "forward", small)
    results = mace.predict(frames, member, {**CONTEXT, "threads": 2})[0]
    for frame, result, right in zip(frames, results, expected, strict=True):
        if len(frame["symbols"]) == 8:
            assert result["failure"] == "out-of-memory"
        elif "failure" not in result:
            assert result["energy"] == pytest.approx(right["energy"], abs=1e-9)
    assert sum("failure" in r for r in results) == 8


def test_one_bad_frame_fails_alone(trained: tuple[Wire, Wire], data: Wire) -> None:
    member = str(Path(trained[1]["weights"][0]).parent)
    good = wire(data["frames"][3])
    foreign = {**good, "symbols": ["Zr", *good["symbols"][1:]]}
    infinite = {**good, "positions": [[math.nan, 0.0, 0.0], *good["positions"][1:]]}
    overlap = {**good, "positions": [good["positions"][1], *good["positions"][1:]]}
    flat = {**good, "cell": [[1.0, 0, 0]] * 3, "pbc": [True] * 3}
    results = mace.predict([foreign, good, infinite, overlap, flat], [member], CONTEXT)[0]
    assert [r.get("failure") for r in results] == ["invalid-input", None, *["invalid-input"] * 3]
    assert "Zr" in results[0]["message"]
    assert results[1] == mace.predict([good], [member], CONTEXT)[0][0]


def test_what_is_not_a_number_is_no_prediction(trained: tuple[Wire, Wire], data: Wire, tmp_path: Path) -> None:
    import torch

    model: Any = torch.load(trained[1]["weights"][0], weights_only=False)
    model.atomic_energies_fn.atomic_energies[:] = math.nan
    torch.save(model, tmp_path / "broken.model")
    assert mace.predict([wire(data["frames"][3])], [str(tmp_path)], CONTEXT)[0][0]["failure"] == "inconsistent"


def test_members_dtype_and_calculator(trained: tuple[Wire, Wire], data: Wire, tmp_path: Path) -> None:
    path = Path(trained[1]["weights"][0])
    frame = wire(data["frames"][4])
    double, again = mace.predict([frame], [str(path.parent), str(path.parent)], CONTEXT)
    single = mace.predict([frame], [str(path.parent)], {**CONTEXT, "dtype": "float32"})[0]
    assert double == again
    assert 0 < abs(double[0]["energy"] - single[0]["energy"]) < 1e-3
    atoms = data["frames"][4].copy()
    atoms.calc = mace.calculator(str(path.parent), CONTEXT)
    assert atoms.get_potential_energy() == pytest.approx(double[0]["energy"], abs=1e-10)
    with pytest.raises(Fatal, match=r"0 files named \*.model"):
        mace.predict([frame], [str(tmp_path)], CONTEXT)


@pytest.mark.full
@pytest.mark.parametrize("how", [{}, {"lora": True, "lora_rank": 2}, {"freeze": 5}])
def test_fine_tuning_goes_on_after_a_stop(data: Wire, trained: tuple[Wire, Wire], tmp_path: Path, how: Wire) -> None:
    """To the last bit; LoRA's layers are in the checkpoints and are merged at the end; what is frozen stays."""
    summary = {**data["summary"], "init": {}}
    config = mace.plan({**how, "max_num_epochs": 3, "batch_size": 3, "valid_batch_size": 4}, {}, summary)
    member = str(Path(trained[1]["weights"][0]).parent)
    job = {"train": data["train"], "valid": data["valid"], "config": config, "seed": 5, "init": member}
    whole = mace.train({**job, "workdir": str(tmp_path / "whole")}, CONTEXT)
    stopped = mace.train({**job, "workdir": str(tmp_path / "parts"), "seconds": 0.0}, CONTEXT)
    assert (stopped["finished"], len(mace.progress(tmp_path / "parts"))) == (False, 1)
    ended = mace.train({**job, "workdir": str(tmp_path / "parts")}, CONTEXT)
    assert (ended["finished"], len(mace.progress(tmp_path / "parts"))) == (True, 3)
    assert mace.progress(tmp_path / "whole") == mace.progress(tmp_path / "parts")
    before, at_once = weights(trained[1]["weights"][0]), weights(whole["weights"][0])
    for result in (whole, ended):
        after = weights(result["weights"][0])
        assert all(bool((at_once[name] == after[name]).all()) for name in at_once)
        assert before.keys() == after.keys(), "the architecture stays"
        moved = {name.split(".")[0] for name in before if not bool((before[name] == after[name]).all())}
        assert "readouts" in moved
        assert ("interactions" in moved) is ("freeze" not in how)
