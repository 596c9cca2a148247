"""All beads in one call of the model: the path is that of one bead after another, to rounding."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

np = pytest.importorskip("numpy")
pytest.importorskip("ipi")
pytest.importorskip("mace", reason="mace-torch is not installed")

from ase import Atoms  # noqa: E402

from psiflow_cli.samplers.ipi import batched_beads, motion  # noqa: E402
from psiflow_cli.samplers.torchsim import forces  # noqa: E402
from tests.samplers import ipi_systems as usual  # noqa: E402
from tests.samplers.test_torchsim import members  # noqa: E402, F401  (a fixture)

Wire = dict[str, Any]
MACE = "psiflow_cli.models.mace"
pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(find_spec("torch_sim") is None, reason="torch-sim is not installed"),
]


def water(cube: float | None = None) -> Any:
    atoms = Atoms("OH2", [[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]])
    if cube:
        atoms.set_cell([cube] * 3)
        atoms.pbc = True
    return atoms


def job(folder: Path, atoms: Any, models: list[str], **changes: Any) -> Wire:
    same = {"timestep": 0.25, "beads": 3, "steps": 12, "block": 12, "every": 4, **changes}
    return {**usual.job(folder, atoms, **same), "model": {"family": MACE, "members": models}}


def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(motion, "batched_beads", lambda *_: None)


def same(found: list[Any], others: list[Any]) -> None:
    assert len(found) == len(others) == 9
    for one, other in zip(found, others, strict=True):
        assert abs(one.positions - other.positions).max() < 1e-9
        assert abs(one.cell.array - other.cell.array).max() < 1e-9
        assert set(one.info) == set(other.info)
        for key, value in one.info.items():
            assert value == pytest.approx(other.info[key], rel=1e-7, abs=1e-7), key
        for key in ("model_forces_std",) if "model_forces_std" in one.arrays else ():
            assert one.arrays[key] == pytest.approx(other.arrays[key], abs=1e-9)


def test_a_molecule_of_a_committee(
    tmp_path: Path,
    members: list[str],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wanted = job(tmp_path / "together", water(), members)
    assert batched_beads.batched_beads(wanted, usual.CONTEXT, wanted["walkers"][0]["start"]) is not None
    found, (_, whole) = usual.frames(wanted), usual.run(wanted)
    assert usual.run(job(tmp_path / "parts", water(), members, block=5))[1] == whole
    assert "model_energy_std" in found[0].info
    alone(monkeypatch)
    same(found, usual.frames(job(tmp_path / "alone", water(), members)))


@pytest.mark.parametrize("ensemble", ["nvt", "npt"])
def test_a_crystal(
    tmp_path: Path,
    members: list[str],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    ensemble: str,
) -> None:
    """On a CPU it is asked about bead by bead; here as on a GPU."""
    wanted = job(tmp_path / "together", water(5.0), members[:1], ensemble=ensemble, cell="flexible")
    assert batched_beads.batched_beads(wanted, usual.CONTEXT, wanted["walkers"][0]["start"]) is None
    models, start = forces.models(wanted["model"], usual.CONTEXT, stress=True), wanted["walkers"][0]["start"]
    monkeypatch.setattr(motion, "batched_beads", lambda *_: batched_beads.BatchedBeads(models, start, 3))
    found = usual.frames(wanted)
    alone(monkeypatch)
    same(found, usual.frames(job(tmp_path / "alone", water(5.0), members[:1], ensemble=ensemble, cell="flexible")))


def test_what_is_asked_about_bead_by_bead(tmp_path: Path, members: list[str]) -> None:  # noqa: F811
    """A single bead, a slab, a family without such an interface."""
    wanted = job(tmp_path, water(), members)
    start = wanted["walkers"][0]["start"]
    assert batched_beads.batched_beads({**wanted, "beads": 1}, usual.CONTEXT, start) is None
    assert batched_beads.batched_beads(wanted, usual.CONTEXT, {**start, "pbc": [True, True, False]}) is None
    own = {**wanted, "model": {"family": usual.__file__, "members": ["{}"]}}
    assert batched_beads.batched_beads(own, usual.CONTEXT, start) is None
