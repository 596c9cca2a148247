"""--head wherever a model is used: without it, a model of several heads is refused before anything runs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from psiflow_cli import bundle, toml
from psiflow_cli.main import main
from tests.commands.inputs import WATER
from tests.worker.models.test_torch_file import saved

LABELLED = WATER.replace(":R:3 pbc", ":R:3:forces:R:3 energy=-1 pbc").replace("0.0\n", "0.0 0 0 0\n")
ATOMS = "".join(
    f'1\nProperties=species:S:1:pos:R:3 energy={e} pbc="F F F"\n{s} 0 0 0\n' for s, e in (("H", -1), ("O", -2))
)
USES = (
    ("evaluate", "in.xyz", "--model"), ("sample", "in.xyz", "--model"), ("relax", "in.xyz", "--model"),
    ("phonons", "in.xyz", "--model"), ("select", "in.xyz", "-n", "1", "--by", "farthest", "--model"),
    ("label", "in.xyz", "--reference"), ("atomic-energies", "in.xyz", "--reference"), ("check", "in.xyz", "--model"),
    ("model", "export", "--to", "ase"), ("train", "in.xyz", "--valid", "valid.xyz", "-o", "new.model", "--init"),
)  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model file of two heads, and a bundle of it: nothing of either is run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PSIFLOW_SITE", raising=False)
    Path("in.xyz").write_text(LABELLED + ATOMS)
    Path("valid.xyz").write_text(LABELLED.replace("0.96", "0.97"))
    file = saved(Path("two.model"), {"heads": ["pbe", "ccsdt"]})
    for heads, name in ((["pbe", "ccsdt"], "bundle.model"), (["Default"], "one.model")):
        Path(name, "member-0").mkdir(parents=True)
        shutil.copy(file, Path(name, "member-0"))
        weights = {"member-0/two.model": bundle.foreign(file, "mace").facts["weights"]["two.model"]}
        facts = {"family": "mace", "elements": ["H", "O"], "members": 1, "heads": heads, "weights": weights}
        facts |= {"head_energies": {head: {"H": -3.0 - i, "O": -4.0} for i, head in enumerate(heads)}}
        more = {"configuration": {"r_max": 4.0, "default_dtype": "float64"}}
        Path(name, "model.toml").write_text(toml.dumps({**facts, "atomic_energies": {"H": -1.0, "O": -2.0}, **more}))
    return tmp_path


def psiflow(*args: str, code: int = 0) -> Result:
    done = CliRunner().invoke(main, [*args, "--dry-run"])
    assert done.exit_code == code, done.output
    return done


@pytest.mark.parametrize("use", USES, ids=lambda use: use[1] if use[0] == "model" else use[0])
@pytest.mark.parametrize("model", [("two.model", "--trust"), ("bundle.model",)])
def test_a_head_is_chosen(folder: Path, use: tuple[str, ...], model: tuple[str, ...]) -> None:
    said = psiflow(*use, *model, code=2).output
    assert "2 heads" in said
    assert "pbe, ccsdt" in said
    assert "ccsdt" in psiflow(*use, *model, "--head", "ccsd", code=2).output
    psiflow(*use, *model, "--head", "ccsdt")
    assert not list(folder.glob("*.run"))


def test_the_only_head_need_not_be_named(folder: Path) -> None:
    for more in ((), ("--head", "Default")):
        psiflow("evaluate", "in.xyz", "--model", "one.model", *more)
    assert "no such head" in psiflow("evaluate", "in.xyz", "--model", "one.model", "--head", "pbe", code=2).output
    assert "is not a model" in psiflow("label", "in.xyz", "--reference", "emt", "--head", "pbe", code=2).output


def test_a_training_starts_from_the_chosen_head(folder: Path) -> None:
    """The family follows from the model, and the atoms' energies are those of the head."""
    start = ("train", "in.xyz", "--valid", "valid.xyz", "-o", "new.model", "--json", "--members", "2", "--init")
    plan = json.loads(psiflow(*start, "bundle.model", "--head", "ccsdt").stdout)
    assert plan["configuration"]["foundation_head"] == "ccsdt"
    assert plan["atomic_energies"] == {"H": -4.0, "O": -4.0}
    assert any("its own bootstrap sample" in note for note in plan["notes"])
    plan = json.loads(psiflow(*start, "two.model", "--trust", "--head", "pbe", "--no-bootstrap").stdout)
    assert plan["atomic_energies"] == {"H": -1.0, "O": -2.0}
    assert any("only a different order of the same frames" in note for note in plan["notes"])
    shutil.copy("two.model", "any.ckpt")
    said = psiflow(*start, "any.ckpt", "--trust", code=2).output
    assert "allegro or nequip" in said
    assert (
        "of mace, not of nequip" in psiflow(*start, "bundle.model", "--head", "pbe", "--arch", "nequip", code=2).output
    )


def test_every_command_that_runs_a_model_takes_a_head() -> None:
    def commands(group: click.Group) -> Iterator[click.Command]:
        for command in group.commands.values():
            yield from commands(command) if isinstance(command, click.Group) else [command]

    names = {command: {name for option in command.params for name in option.opts} for command in commands(main)}
    for command, options in names.items():
        if command.name == "combine":  # where @ names the head of each term
            continue
        assert ("--trust" in options) is ("--head" in options), command.name
        assert not {"--model", "--init", "--reference"} & options or "--head" in options, command.name
