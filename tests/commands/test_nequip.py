"""NequIP and Allegro with the commands: their workers run in an environment that the command does not share."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from psiflow_cli import bundle, extxyz
from tests.conftest import ROOT

ENVIRONMENT = ROOT / ".venv-nequip"
pytestmark = pytest.mark.skipif(
    not (ENVIRONMENT / "bin" / "python").exists(), reason="no environment .venv-nequip: tests/run.sh makes it"
)
SITE = f"""
[providers.here]
type = "local"
[environments.nequip]
prefix = "{ENVIRONMENT}"
[resources.task]
cores = 1
[executors.nequip]
type = "htex"
provider = "here"
environment = "nequip"
resources = "task"
[executors.default]
type = "htex"
provider = "here"
resources = "task"
[use]
default = "default"
""" + "".join(f'{family}.{what} = "nequip"\n' for family in ("nequip", "allegro") for what in ("train", "evaluate"))
SIZE = {"nequip": ("num_features=4", "num_layers=1"), "allegro": ("num_layers=1", "num_tensor_features=4")}


def waters(count: int) -> str:
    """Molecules, every second one in a periodic box and with a stress."""
    frames = []
    for i in range(count):
        box = 'Lattice="6 0 0 0 6 0 0 0 6" pbc="T T T" stress="1e-3 0 0 0 1e-3 0 0 0 1e-3"' if i % 2 else 'pbc="F F F"'
        frames.append(
            f"3\nProperties=species:S:1:pos:R:3:forces:R:3 energy={-157 + i / 100} {box}\n"
            f"O 0.0 0.0 0.0 -0.1 0.0 0.0\nH {0.9 + i / 100} 0.0 0.0 0.1 0.0 0.0\nH -0.24 0.93 0.0 0.0 0.0 0.0\n"
        )
    return "".join(frames)


E0S = {"H": -10.5, "O": -118.0}
ATOMS = "".join(f'1\nProperties=species:S:1:pos:R:3 energy={e} pbc="F F F"\n{s} 0 0 0\n' for s, e in E0S.items())


@pytest.mark.parametrize("family", ["nequip", pytest.param("allegro", marks=pytest.mark.full)])
def test_train_evaluate_and_sample(psiflow, family):
    Path("site.toml").write_text(SITE)
    Path("in.xyz").write_text(waters(10) + ATOMS)
    small = [word for pair in ("max_epochs=2", "batch_size=3", *SIZE[family]) for word in ("--set", pair)]
    train = ["train", "in.xyz", "--arch", family, *small, "--members", "2", "--site", "site.toml", "-o", "a.model"]
    psiflow(*train)
    made = bundle.load("a.model")
    assert made.facts["atomic_energies"] == E0S
    assert made.facts["trainer"].startswith("nequip")
    assert [Path(name).name for name in made.facts["weights"]] == ["model.nequip.zip"] * 2
    assert len(set(made.facts["weights"].values())) == 2
    assert [len(curve) for curve in json.loads(Path("a.model/metrics.json").read_text())["curves"]] == [2, 2]
    assert "up to date" in psiflow(*train).stderr

    psiflow("evaluate", "in.xyz", "--model", "a.model", "--site", "site.toml", "-o", "out.xyz")
    found = [frame.info for frame in extxyz.read(Path("out.xyz"))]
    assert all(isinstance(info["model_energy"], float) and info["model_energy_std"] >= 0 for info in found)
    assert [("model_stress" in info) for info in found] == [bool(i % 2) and i < 10 for i in range(12)]
    assert found[-1]["model_energy"] == pytest.approx(E0S["O"], abs=1e-6)

    Path("one.xyz").write_text(waters(1))
    psiflow(
        *("sample", "one.xyz", "--model", "a.model", "--site", "site.toml", "--ensemble", "nvt", "--temperature", "50"),
        *("--steps", "4", "--every", "2", "--walkers", "1", "-o", "md.xyz"),
    )
    assert len(list(extxyz.read(Path("md.xyz")))) == 2
