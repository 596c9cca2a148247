"""MACE models of several heads: the chosen head predicts, in every program, and several are trained at once."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

from psiflow_cli.errors import UsageError
from psiflow_cli.models import mace
from psiflow_cli.models.mace import inference
from psiflow_cli.models.mace.labels import relabel
from psiflow_cli.models.mace.trainer.checkpoints import Checkpoints
from psiflow_cli.worker.failures import Fatal
from psiflow_cli.worker.training.early_stopping import Stopping

pytest.importorskip("mace", reason="mace-torch is not installed")

from tests.models.test_mace import CONTEXT, TINY, Wire, data  # noqa: F401
from tests.models.test_mace_internals import CRYSTAL, WATER
from tests.samplers.mace_model import untrained

HEADS = ["pbe", "ccsd t"]


@pytest.fixture(scope="module")
def member(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("member")
    untrained(folder / "mace.model", heads=HEADS)
    return str(folder)


def energies(calculator: Any) -> list[float]:
    from psiflow_cli.worker.structures import conversion

    found = []
    for frame in (WATER, CRYSTAL):
        atoms = conversion.to_ase(frame)
        atoms.calc = calculator
        found.append(atoms.get_potential_energy())
    return found


def test_the_names_are_read_without_mace_and_by_it(member: str) -> None:
    path = Path(member, "mace.model")
    facts = inference.describe(path)
    assert mace.heads(path) == facts["heads"] == HEADS
    assert facts["head_energies"] == {"pbe": {"H": -13.0, "O": -430.0}, "ccsd t": {"H": -12.0, "O": -429.0}}


@pytest.mark.parametrize("head", HEADS)
def test_the_chosen_head_predicts(member: str, head: str, tmp_path: Path) -> None:
    """In a batch, in ASE and in what is exported: as in MACE's own calculator."""
    from mace.calculators import MACECalculator

    path = str(Path(member, "mace.model"))
    expected = energies(MACECalculator(model_paths=path, device="cpu", default_dtype="float64", head=head))
    context: Any = {**CONTEXT, "head": head, "logs": str(tmp_path)}
    (predicted,) = mace.predict([WATER, CRYSTAL], [member], context)
    assert [each["energy"] for each in predicted] == pytest.approx(expected, abs=1e-12)
    assert energies(mace.calculator(member, context)) == expected
    alone = mace.export([member], "mace", "model", str(tmp_path), context)
    assert mace.heads(Path(alone)) == [head]
    assert energies(MACECalculator(model_paths=alone, default_dtype="float64")) == pytest.approx(expected, abs=1e-9)
    torch_sim = pytest.importorskip("torch_sim", reason="torch-sim is not installed")
    import torch

    from psiflow_cli.worker.structures import conversion

    state = torch_sim.io.atoms_to_state([conversion.to_ase(CRYSTAL)], torch.device("cpu"), torch.float64)
    assert mace.torchsim(member, context, False)(state)["energy"].tolist() == pytest.approx(expected[1:], abs=1e-9)


@pytest.mark.parametrize("head", [None, "scan"])
def test_no_other_head_is_taken(member: str, head: str | None) -> None:
    """MACE's own calculator takes the last one, or the one called default."""
    context: Any = {**CONTEXT, **({"head": head} if head else {})}
    for use in (mace.calculator, lambda *given: mace.torchsim(*given, False)):
        with pytest.raises(Fatal, match="pbe, ccsd t") as caught:
            use(member, context)
        assert "--head" in caught.value.hint


SUMMARY: Wire = {
    "elements": ["Cu"], "frames": 12, "valid_frames": 4, "stress": False, "periodic": True, "e0s": {"Cu": 0.0},
    "heads": {"a": {"Cu": 0.5}, "b c": {"Cu": -0.5}},
}  # fmt: skip


def test_the_plan_has_energies_for_each_head() -> None:
    planned = mace.plan({}, {}, SUMMARY)
    assert ast.literal_eval(planned["heads"]) == {"a": {"E0s": "{29: 0.5}"}, "b c": {"E0s": "{29: -0.5}"}}
    assert "E0s" not in planned
    with pytest.raises(UsageError, match="heads: psiflow sets this"):
        mace.plan({"heads": "{}"}, {}, SUMMARY)


def test_each_head_has_its_frames(tmp_path: Path) -> None:
    frame = "1\nProperties=species:S:1:pos:R:3:forces:R:3 energy=1.0{}\nCu 0 0 0 0 0 0\n"
    names = ("head=a", 'head="b c"', "head=1", "headless=a", "")
    (tmp_path / "all.xyz").write_text("".join(frame.format(f" {name}") for name in names))
    counts = [relabel(tmp_path / "all.xyz", tmp_path / "one.xyz", head) for head in ("a", "b c", "1", None)]
    assert counts == [1, 1, 1, 5]


def test_an_epoch_is_as_good_as_the_mean_over_the_heads(tmp_path: Path) -> None:
    """MACE itself keeps the epoch that is best for the last head."""
    checkpoints = Checkpoints(str(tmp_path / "c"), "tag", stopping=Stopping(), deliver=lambda *_: None)
    (tmp_path / "results").mkdir()
    lines = []
    for epoch, losses in enumerate(([4.0, 2.0], [1.0, 3.0])):
        lines.append(f'{{"mode": "opt", "epoch": {epoch}, "loss": {epoch + 7.0}}}\n')
        for head, loss in zip("ab", losses, strict=True):
            checkpoints.see({"mode": "eval", "epoch": epoch, "loss": loss, "head": head})
            lines.append(f'{{"mode": "eval", "epoch": {epoch}, "loss": {loss}, "head": "{head}", "rmse_f": {loss}}}\n')
        assert checkpoints.valid_loss == sum(losses) / 2
    (tmp_path / "results" / "mace_train.txt").write_text("".join(lines))
    assert mace.progress(tmp_path) == [
        {"epoch": 0, "loss": 7.0, "valid_loss": 3.0, "rmse_f_meV_per_A": 3000.0},
        {"epoch": 1, "loss": 8.0, "valid_loss": 2.0, "rmse_f_meV_per_A": 2000.0},
    ]


def test_several_heads_are_trained(data: Wire, tmp_path: Path) -> None:  # noqa: F811
    """One head has the labels of the other with 1 eV an atom more: so have its atoms, and so has what it predicts."""
    from ase.io import read, write

    files: Wire = {}
    for part in ("train", "valid"):
        both = []
        for head, shift in (("emt", 0.0), ("other", 1.0)):
            for atoms in read(data[part], ":"):
                results = {**atoms.calc.results, "energy": atoms.get_potential_energy() + shift * len(atoms)}
                atoms.calc.results = results
                atoms.info["head"] = head
                both.append(atoms)
        files[part] = str(tmp_path / f"{part}.xyz")
        write(files[part], both, format="extxyz")
    e0s = data["summary"]["e0s"]
    shifted = {symbol: energy + 1.0 for symbol, energy in e0s.items()}
    summary = {**data["summary"], "heads": {"emt": e0s, "other": shifted}}
    config = mace.plan({**TINY, "max_num_epochs": 2, "swa": False}, {}, summary)
    done = mace.train({**files, "workdir": str(tmp_path / "work"), "config": config, "seed": 1}, CONTEXT)
    assert done["head_energies"] == {"emt": pytest.approx(e0s), "other": pytest.approx(shifted)}
    assert [epoch["epoch"] for epoch in mace.progress(tmp_path / "work")] == [0, 1]
    first, second = (
        mace.predict([frame_of(files)], [done["weights"][0]], {**CONTEXT, "head": head})[0][0]["energy"]
        for head in ("emt", "other")
    )
    assert second - first == pytest.approx(13, abs=2)  # 13 atoms


def frame_of(files: Wire) -> Any:
    from ase.io import read

    from tests.models.test_mace import wire

    return wire(next(atoms for atoms in read(files["valid"], ":") if len(atoms) == 13))
