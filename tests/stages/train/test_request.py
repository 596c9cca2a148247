"""What decides a training is hashed as ever: a new psiflow must not train again what is up to date."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from psiflow_cli import bundle, registry
from psiflow_cli.errors import BadConfig, BadSettings, NoInput, Refusal, UsageError
from psiflow_cli.runtime.request import fingerprint
from psiflow_cli.stages.train.config import TrainersFile, read
from psiflow_cli.stages.train.request import Training


def training(**more: Any) -> Training:
    return Training(**{"arch": "mace", "module": registry.load("models", "mace"), "valid": "0.1", "e0s": None, **more})


@pytest.mark.parametrize(
    ("more", "digest"),
    [
        ({}, "88cd2b94dc8b28b9"),
        ({"e0s": "average", "valid": "0.25", "mixed_references": True, "replay": False}, "62ff0459ce8e5d5a"),
        (
            {
                "valid": "v.xyz", "seed": 3, "members": 4, "bootstrap": True, "settings": {"r_max": "3", "lr": "0.1"},
                "e0s": {"H": -13.6, "O": -432.1}, "config": TrainersFile("c.yaml", {"r_max": 4.5, "lr": "1e-3"}),
                "keys": "energy=E,forces=F",
            },
            "92a30eee6c0a2b8f",
        ),
    ],
)  # fmt: skip
def test_the_fingerprint_of_a_request(more: dict[str, Any], digest: str) -> None:
    job = training(**more).job(("in.xyz",), "a.model")
    assert fingerprint(job.settings) == digest
    assert job.other_inputs == (("v.xyz",) if "config" in more else ())
    assert json.loads(json.dumps(job.settings)) == job.settings


def test_a_model_to_start_from_counts_unless_it_is_the_output(tmp_path: Path) -> None:
    facts: Any = {"family": "mace", "elements": ["H"], "members": 1, "weights": {"member-0/a.model": "0" * 64}}
    model = bundle.Bundle(tmp_path / "a.model", facts)
    settings = training(init=model).job((), str(tmp_path / "b.model")).settings
    assert (settings["init"], settings["replay"]) == (model.fingerprint, True)
    settings = training(init=model, replay=False).job((), str(tmp_path / "a.model")).settings
    assert (settings["init"], settings["replay"]) == ("the output", False)


def test_a_size_and_an_empty_file_count() -> None:
    plain = training().job((), "a.model").settings
    assert training(size="large").job((), "a.model").settings == {**plain, "size": "large"}
    assert training(config=TrainersFile("c.yaml")).job((), "a.model").settings == {**plain, "as_given": True}
    training(size="large").check()
    with pytest.raises(UsageError, match="is used as it is"):
        training(size="large", config=TrainersFile("c.yaml")).check()


def test_files_that_a_configuration_names_are_inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looked for in the working directory, as the trainer does, then beside the configuration."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "c.yaml").write_text("r_max: 5\nles_arguments: les.yaml\n")
    wanted = training(config=read("there/c.yaml"))
    with pytest.raises(NoInput, match=r"there/c.yaml:2: les_arguments: les.yaml: no such file in .* or .*there"):
        wanted.job((), "a.model")
    for place in ("there/les.yaml", "les.yaml"):
        (tmp_path / place).touch()
        wanted = training(config=read("there/c.yaml"))
        assert wanted.job((), "a.model").other_inputs == (str(tmp_path / place),)
        assert wanted.files == {"les.yaml": str(tmp_path / place)}
    with pytest.raises(NoInput, match=r"^les_arguments: none.yaml"):
        training(settings={"les_arguments": "none.yaml"}).job((), "a.model")


def test_modules_of_the_user_s_own_are_inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "package").mkdir()
    for name in ("mine.py", "package/__init__.py", "package/more.py"):
        (tmp_path / name).touch()
    targets = ["mine.Stop", "package.more.Print", "torch.optim.Adam", "elsewhere.X"]
    (tmp_path / "c.yaml").write_text(f"trainer: {{callbacks: {[{'_target_': name} for name in targets]}}}\n")
    wanted = training(arch="nequip", module=registry.load("models", "nequip"), config=read("c.yaml"))
    assert wanted.files == {"mine": str(tmp_path / "mine.py"), "package": str(tmp_path / "package")}
    assert [Path(name).name for name in wanted.job((), "a.model").other_inputs] == ["mine.py", "__init__.py", "more.py"]


def test_what_is_refused_is_said_to_be_where_it_is(tmp_path: Path) -> None:
    for name, text in (
        ("c.yaml", "a: 1\ntable:\n  b:\n    c: 2\n"),
        ("c.toml", "a = 1\n[table.b]\nc = 2\n"),
    ):
        (tmp_path / name).write_text(text)
        file = read(str(tmp_path / name))
        line = 4 if name == "c.yaml" else 3
        wrong = [Refusal("long.table.b.c", "c is wrong", "leave it out"), Refusal("d", "d is missing")]
        error = file.refused(BadSettings([*wrong, Refusal("a", "a is wrong")]), {"a": "3"})
        assert isinstance(error, BadConfig)
        here = tmp_path / name
        assert error.message == f"a is wrong; {here}: d is missing; {here}:{line}: c is wrong (leave it out)"
        assert error.hint == "3 settings were rejected"
    only = file.refused(BadSettings([Refusal("a", "a is wrong", "leave it out")]), {"a": "3"})
    assert (only.message, only.hint, only.exit_code) == ("a is wrong", "leave it out", 2)


def test_a_setting_given_twice_in_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("a: &x {b: 1}\nc: {<<: *x, d: 2}\na: 3\n")
    with pytest.raises(BadConfig, match=r"c.yaml:3: a: also in line 1"):
        read(str(tmp_path / "c.yaml"))
    (tmp_path / "c.yaml").write_text("a: &x {b: 1}\nc: {<<: *x, d: 2}\n")
    assert read(str(tmp_path / "c.yaml")).table == {"a": {"b": 1}, "c": {"b": 1, "d": 2}}
    (tmp_path / "c.yaml").write_text("# nothing yet\n")
    assert read(str(tmp_path / "c.yaml")).table == {}


def test_a_logger_s_variables_reach_the_trainer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only of packages that the configuration needs, and the site's own `env` wins."""
    from psiflow_cli.stages.train import stage

    workspace: Any = SimpleNamespace(context=lambda: {"env": {"WANDB_MODE": "offline"}})
    for name, value in (("WANDB_MODE", "online"), ("WANDB_PROJECT", "mine"), ("MLFLOW_TRACKING_URI", "there")):
        monkeypatch.setenv(name, value)
    context = stage._context(workspace, {"wandb": "trainer.logger"})
    assert context["env"] == {"WANDB_MODE": "offline", "WANDB_PROJECT": "mine"}
    assert stage._context(workspace, {})["env"] == {"WANDB_MODE": "offline"}


def test_files_are_copied_to_the_workers_and_modules_stay(tmp_path: Path) -> None:
    from psiflow_cli.stages.train import stage

    for name in ("mine.py", "les.yaml"):
        (tmp_path / name).write_text(name)
    files = {"mine": str(tmp_path / "mine.py"), "les.yaml": str(tmp_path / "les.yaml")}
    copied = stage._copied(files, tmp_path / "work")
    assert copied == {**files, "les.yaml": str(tmp_path / "work" / "0" / "les.yaml")}
    assert Path(copied["les.yaml"]).read_text() == "les.yaml"


def test_committees_share_no_member() -> None:
    seeds = [[training(seed=seed).member_seed(index) for index in range(8)] for seed in range(8)]
    assert [members[0] for members in seeds] == list(range(8)), "a training of one model is not done again"
    assert len({seed for members in seeds for seed in members}) == 64
    assert all(0 <= seed < 2**31 for members in seeds for seed in members)


def test_members_that_start_from_the_same_weights_differ_in_their_data(tmp_path: Path) -> None:
    facts: Any = {"family": "mace", "elements": ["H"], "members": 2, "weights": {"member-0/a.model": "0" * 64}}
    model = bundle.Bundle(tmp_path / "a.model", facts)
    cases = {None: [False, False, True, True], True: [True] * 4, False: [False] * 4}
    for given, expected in cases.items():
        assert [training(init=model, bootstrap=given).has_sample(index) for index in range(4)] == expected
    assert not training(bootstrap=None).has_sample(3), "other first weights are enough"

    def bootstrap(output: str, **more: Any) -> object:
        return training(init=model, **more).job((), str(tmp_path / output)).settings["bootstrap"]

    assert bootstrap("b.model", members=2) is False
    assert bootstrap("b.model", members=3) == "where members share the start"
    assert bootstrap("a.model", members=3) is False, "the output has as many members after the first run"


def test_a_head_is_another_model(tmp_path: Path) -> None:
    facts: Any = {"family": "mace", "elements": ["H"], "members": 1, "weights": {"member-0/a.model": "0" * 64}}
    model = bundle.Bundle(tmp_path / "a.model", facts)
    heads = [replace(model, head=head).fingerprint for head in (None, "pbe", "ccsdt")]
    assert len(set(heads)) == 3
    assert heads[0] == model.fingerprint
