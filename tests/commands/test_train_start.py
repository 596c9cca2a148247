"""psiflow train --init, and models that are programs: nothing of them is run unless the user trusts it."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import pytest

from psiflow_cli import bundle, toml
from tests.commands.inputs import WATER
from tests.commands.test_train import GIVEN, frames


class Evil:
    """What unpickling it does, is to make a file."""

    def __reduce__(self):
        return Path.touch, (Path("pwned").absolute(),)


@pytest.fixture
def evil(psiflow):
    """A model file, and a bundle whose weights were replaced by it."""
    Path("in.xyz").write_text(frames())
    Path("evil.model").write_bytes(pickle.dumps(Evil()))
    pickle.loads(Path("evil.model").read_bytes())
    Path("pwned").unlink()  # it works
    member = Path("bundle.model/member-0")
    member.mkdir(parents=True)
    shutil.copy("evil.model", member / "mace.model")
    facts = {"family": "mace", "elements": ["H", "O"], "members": 1, "weights": {"member-0/mace.model": "0" * 64}}
    Path("bundle.model/model.toml").write_text(toml.dumps(facts))
    return psiflow


TRAIN = ("train", "in.xyz", "--arch", "mace", *GIVEN)


@pytest.mark.parametrize("model", ["evil.model", "bundle.model"])
@pytest.mark.parametrize(
    "command",
    [("evaluate", "in.xyz", "--model"), ("sample", "in.xyz", "--model"), (*TRAIN, "-o", "new.model", "--init")],
)
def test_what_nobody_vouches_for_is_not_run(evil, model, command):
    for more in ((), ("--dry-run",)):
        said = evil(*command, model, *more, code=65).stderr
        assert "--trust" in said if model == "evil.model" else "run it only if you trust its source" in said
        assert len(said.splitlines()) == 2
    assert not Path("pwned").exists()
    assert not Path("new.model").exists()


def test_looking_at_it_runs_nothing(evil):
    evil("status")
    evil("--help")
    evil("train", "--help")
    evil("label", "in.xyz", "--reference", "model", "--input", "evil.model", code=65)
    evil("label", "in.xyz", "--reference", "bundle.model", code=65)
    for action, *more in (("show",), ("verify",), ("export", "--to", "mace", "-o", "out")):
        for model in ("evil.model", "bundle.model"):
            evil("model", action, model, *more, code=65)
    evil("evaluate", "in.xyz", "--model", "in.xyz", "--trust", code=65)
    evil(*TRAIN, "-o", "new.model", "--init", "evil.model", "--trust", "--dry-run")
    evil("evaluate", "in.xyz", "--model", "evil.model", "--trust", "--dry-run")
    assert not Path("pwned").exists()


def test_what_is_trusted_is_run_by_a_worker(evil):
    pytest.importorskip("torch", reason="torch is not installed")
    done = evil("evaluate", "in.xyz", "--model", "evil.model", "--trust", "-o", "out.xyz", code=1)
    assert Path("pwned").exists(), "this test would not notice a file that is run"
    assert not Path("out.xyz").exists() or "failed" in done.stderr


def test_what_the_clock_has_stopped_is_said_to_be_so(trained, psiflow):
    shutil.copytree(trained.model, "early.model")
    text = Path("early.model/model.toml").read_text()
    Path("early.model/model.toml").write_text(text.replace("psiflow =", "unfinished = true\npsiflow =", 1))
    for command in ("evaluate", "sample"):
        said = psiflow(command, trained.test, "--model", "early.model", "--dry-run").stderr
        assert "early.model: its training was stopped before the end (after 30 epochs)" in said


def test_architecture_and_options_of_a_start(trained, psiflow):
    common = ("train", trained.train, "--arch", "mace", "--init", trained.model, "--dry-run", "--json")
    said = psiflow(*common, "--set", "r_max=6", code=2).stderr
    assert "r_max 6.0 is not possible: it is 4.0 in the model to start from" in said
    plan = json.loads(psiflow(*common, "--set", "r_max=4", "--set", "max_num_epochs=7").stdout)
    configuration = plan["configuration"]
    assert (configuration["num_channels"], configuration["max_num_epochs"]) == (8, 7)
    assert configuration["lr"] < 0.01
    assert configuration["patience"] > 0
    facts = bundle.load(trained.model).facts
    assert plan["atomic_energies"] == facts["atomic_energies"]
    weights = str(Path(trained.model) / "member-0" / "mace.model")
    foreign = ("train", trained.train, "--arch", "mace", "--init", weights, "--trust", "--dry-run", "--json")
    assert "r_max" in psiflow(*foreign, "--set", "r_max=4", code=2).stderr
    assert "r_max" not in json.loads(psiflow(*foreign).stdout)["configuration"]


@pytest.mark.full
def test_a_retrain_starts_where_the_old_model_is(trained, psiflow):
    """New energies of atoms are noted and not used, old data are replayed, and one epoch keeps what was learned."""
    before = bundle.load(trained.model)
    assert set(bundle.training_data(before)) == {"train", "valid"}
    lines = Path(trained.train).read_text().splitlines(keepends=True)
    few = "".join(lines[: 5 * (int(lines[0]) + 2)])  # molecules
    shift = {symbol: energy + 1 for symbol, energy in before.facts["atomic_energies"].items()}
    atoms = "".join(f'1\nProperties=species:S:1:pos:R:3 energy={e} pbc="F F F"\n{s} 0 0 0\n' for s, e in shift.items())
    Path("new.xyz").write_text(few + atoms)
    command = ("train", "new.xyz", "--arch", "mace", "--init", trained.model, "--site", trained.site, "-o", "b.model")
    done = psiflow(*command, "--set", "max_num_epochs=1", "--set", "lr=1e-9")
    assert "isolated atoms differ from those of the model to start from" in done.stderr
    after = bundle.load("b.model")
    assert after.facts["atomic_energies"] == before.facts["atomic_energies"]
    assert after.facts["init"] == before.fingerprint
    old = before.facts["train_frames"] + before.facts["valid_frames"]
    assert after.facts["train_frames"] + after.facts["valid_frames"] == old
    errors = [json.loads((model.path / "metrics.json").read_text())["metrics"]["member-0"] for model in (before, after)]
    assert errors[1]["rmse_f_meV_per_A"] == pytest.approx(errors[0]["rmse_f_meV_per_A"], rel=0.05)
    # the bare file that is in the bundle predicts what the bundle does
    Path("water.xyz").write_text(WATER)
    bare = ("--model", "b.model/member-0/mace.model", "--trust")
    psiflow("evaluate", "water.xyz", *bare, "--site", trained.site, "-o", "bare.xyz")
    psiflow("evaluate", "water.xyz", "--model", "b.model", "--site", trained.site, "-o", "whole.xyz")
    assert Path("bare.xyz").read_bytes() == Path("whole.xyz").read_bytes()
