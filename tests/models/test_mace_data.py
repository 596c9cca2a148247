"""What MACE reads of the user's frames: labels and weights, after everything psiflow does to them on the way."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from psiflow_cli import extxyz
from psiflow_cli.models.mace.labels import relabel
from psiflow_cli.stages.train import dataset

pytest.importorskip("mace", reason="mace-torch is not installed")

STRESS = [0.01, -0.02, 0.03, 0.004, 0.005, 0.006]


def write(path: Path) -> list[Any]:
    """Frames of all kinds, with names and weights as users write them: periodic with and without stress, molecules."""
    from ase import Atoms
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.io import write as write_xyz

    frames = []
    for index in range(6):
        periodic = index < 4
        atoms = Atoms("OH2", [[0, 0, 0], [0.9 + index / 50, 0, 0], [-0.2, 0.9, 0]], pbc=periodic)
        atoms.cell = [4.0, 4.5, 5.0] if periodic else None
        labels: dict[str, Any] = {"energy": -450.25 + index, "forces": [[0.1 * index, 0.2, -0.3]] * 3}
        if index % 2 == 0 and periodic:
            labels["stress"] = STRESS
        atoms.calc = SinglePointCalculator(atoms, **labels)
        atoms.info |= {"config_type": "cold" if index < 3 else "hot", "config_weight": 0.5 * (index + 1)}
        if index == 1:
            atoms.info["config_forces_weight"] = 3.0
        if index == 5:
            del atoms.info["config_weight"], atoms.info["config_type"]
        frames.append(atoms)
    write_xyz(path, frames, format="extxyz")
    return frames


def test_mace_reads_labels_and_weights_of_all_kinds_of_frames(tmp_path: Path) -> None:
    import torch
    from mace import data, tools
    from mace.data import KeySpecification, load_from_xyz

    originals = write(tmp_path / "in.xyz")
    sources = dataset.Sources(partial(extxyz.read, tmp_path / "in.xyz"), None)
    seen = dataset.read(sources, 0.0, 0)
    extxyz.write(tmp_path / "train.xyz", dataset.render(sources, seen, "train"))
    assert relabel(tmp_path / "train.xyz", tmp_path / "mace.xyz") == len(originals)
    keys = {"energy": "REF_energy", "stress": "REF_stress", "virials": "REF_virials", "head": "head"}
    spec = KeySpecification(info_keys=keys, arrays_keys={"forces": "REF_forces"})
    _, configs = load_from_xyz(
        str(tmp_path / "mace.xyz"), spec, config_type_weights={"Default": 1.0, "hot": 10.0, "cold": 1.0}
    )
    table = tools.AtomicNumberTable([1, 8])
    for index, (config, atoms) in enumerate(zip(configs, originals, strict=True)):
        weight = atoms.info.get("config_weight", 1.0) * (10.0 if atoms.info.get("config_type") == "hot" else 1.0)
        assert config.weight == weight
        assert config.config_type == atoms.info.get("config_type", "Default")
        graph: Any = data.AtomicData.from_config(config, z_table=table, cutoff=3.0)
        assert float(graph.weight) == weight
        assert float(graph.energy) == pytest.approx(atoms.get_potential_energy(), abs=1e-5)
        assert graph.forces.numpy() == pytest.approx(atoms.get_forces(), abs=1e-6)
        has_stress = "stress" in atoms.calc.results
        weights = (graph.energy_weight, graph.forces_weight, graph.stress_weight, graph.virials_weight)
        assert list(map(float, weights)) == [1.0, 3.0 if index == 1 else 1.0, float(has_stress), 0.0]
        if has_stress:
            assert graph.stress[0].numpy() == pytest.approx(atoms.get_stress(voigt=False), abs=1e-7)
        else:
            assert torch.equal(graph.stress, torch.zeros_like(graph.stress))
