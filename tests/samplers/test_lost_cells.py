"""A cell that collapses or explodes ends its walker, before the model is asked about what no memory could hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("numpy")
pytest.importorskip("ase.md.langevinbaoab", reason="needs ASE 3.27 or later")

from psiflow_cli.samplers import ase, ipi, torchsim
from tests.samplers import ase_systems, ipi_systems

ENGINES = [
    (ase, {"thermostat": "langevin"}),
    (ase, {"thermostat": "langevin", "cell": "flexible"}),
    (ase, {"thermostat": "nose-hoover", "cell": "flexible"}),
    (torchsim, {"thermostat": "langevin"}),
    (torchsim, {"thermostat": "nose-hoover", "cell": "flexible"}),
    (ipi, {"thermostat": "langevin"}),
    (ipi, {"thermostat": "langevin", "cell": "flexible"}),
]


@pytest.mark.parametrize(("engine", "changes"), ENGINES)
@pytest.mark.parametrize("pressure", [1e7, -1e7])
def test_a_cell_under_an_absurd_pressure(tmp_path: Path, engine: Any, changes: dict[str, Any], pressure: float) -> None:
    """Of atoms without forces, whose cell nothing else holds."""
    for package in engine.REQUIRES:
        pytest.importorskip(package, reason=f"{package} is not installed")
    atoms = ipi_systems.gas(8, "He", cube=8.0)
    wanted = ipi_systems.job(
        tmp_path, atoms, ensemble="npt", pressure=pressure, barostat_time=20.0, steps=500, block=500, every=1,
        beads=1, **changes,
    )  # fmt: skip
    wanted["model"] = {"family": ase_systems.__file__, "members": ["gas"]}
    said, _ = ipi_systems.run(wanted, engine)
    assert said["stopped"]["kind"] == "cell"
    assert "times as large" in said["stopped"]["reason"]
    assert 0 < said["step"] == said["stopped"]["step"] < 500
    written = list(ipi_systems.read(tmp_path / ipi_systems.trajectory_name(2), ":", format="extxyz"))
    assert all(0.1 < frame.get_volume() / atoms.get_volume() < 10 for frame in written)
    assert ipi_systems.run(wanted, engine)[0] == said  # it does not move again
