"""Waters on springs under PLUMED itself, for every engine; where its library is missing, tests are skipped."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from ase.io import read

from psiflow_cli.samplers import ase, ipi, torchsim
from psiflow_cli.worker.md import checkpoint

ENGINES = {"ase": ase, "torchsim": torchsim, "ipi": ipi}
CONTEXT: dict[str, Any] = {"scratch": "", "device": "cpu", "dtype": None, "threads": 1}
HARMONIC = Path(__file__).parents[1] / "contracts" / "harmonic.py"
WATER = [[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]]
UNITS = "UNITS LENGTH=A ENERGY=eV\nd: DISTANCE ATOMS=1,2\ne: DISTANCE ATOMS=1,3\n"

needs_kernel = pytest.mark.skipif(
    not os.environ.get("PLUMED_KERNEL"), reason="PLUMED_KERNEL does not name PLUMED's library, which is in no registry"
)


def job(folder: Path, name: str, text: str, walkers: int = 2, **changes: Any) -> dict[str, Any]:
    """Waters in a cube of 9 Å; `text` comes behind `UNITS`."""
    pytest.importorskip("plumed")
    (folder / "member").mkdir(parents=True, exist_ok=True)
    (folder / "member" / "sites.json").write_text(json.dumps([[x / 9.0 for x in row] for row in WATER]))
    cell = [[9.0, 0.0, 0.0], [0.0, 9.0, 0.0], [0.0, 0.0, 9.0]]
    start = {"id": "0" * 16, "symbols": ["O", "H", "H"], "positions": WATER, "cell": cell, "pbc": [True] * 3}
    return {
        "folder": str(folder / name),
        "walkers": [{"walker": i, "start": start, "temperature": [300.0] * 2} for i in range(walkers)],
        "model": {"family": str(HARMONIC), "members": [str(folder / "member")]},
        **{"ensemble": "nvt", "thermostat": "langevin", "timestep": 0.5, "friction": 20.0, "thermostat_time": 50.0},
        **{"barostat_time": 500.0, "pressure": 1.0, "cell": "flexible", "chain_length": 3},
        **{"steps": 60, "every": 20, "block": 60, "batch": 64, "seed": 3},
        **{"ramp_steps": None, "exchange": None, "beads": 1, "plumed": UNITS + text},
        "limits": {"force": None, "temperature": None, "distance": None, "spread": None},
        **changes,
    }


def finish(engine: str, job: dict[str, Any]) -> list[list[Any]]:
    """The frames of each walker, after as many blocks as it takes."""
    while any(w["step"] < job["steps"] for w in ENGINES[engine].advance(job, CONTEXT)["walkers"]):  # type: ignore[arg-type]
        pass
    names = [checkpoint.trajectory_name(walker["walker"]) for walker in job["walkers"]]
    return [read(Path(job["folder"]) / name, ":", format="extxyz") for name in names]


def rows(job: dict[str, Any], walker: int, name: str) -> Any:
    """The numbers of a file of PLUMED's, without repeated headers."""
    import numpy as np

    return np.loadtxt(Path(job["folder"]) / f"plumed-{walker:05d}" / name, comments="#", ndmin=2)


def frames_of(text: str) -> list[Any]:
    """The frames of a trajectory as text."""
    return read(io.StringIO(text), ":", format="extxyz")  # type: ignore[no-any-return]
