"""What a sampling is asked to do, as it stands in fingerprints: runs from before are found again."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from psiflow_cli.runtime.request import fingerprint
from psiflow_cli.stages.sample.blocking import Discard
from psiflow_cli.stages.sample.request import Outputs, Sampling
from psiflow_cli.stages.sample.walkers import Walker, WalkerGroup
from psiflow_cli.worker.md.checkpoint import job_key

MODEL: Any = SimpleNamespace(fingerprint="f" * 16, members=["m/0", "m/1"], weights={"m/0/w": "aa"})
DYNAMICS: Any = {
    "ensemble": "nvt",
    "thermostat": "langevin",
    "timestep": 0.5,
    "friction": 10.0,
    "pressure": 1.0,
    "cell": "isotropic",
    "exchange": None,
    "beads": 1,
    "every": 10,
    "seed": 0,
    "thermostat_time": 100.0,
    "chain_length": 3,
    "barostat_time": 1000.0,
    "masses": {},
    "fixed": [],
    "plumed": None,
    "ramp_steps": None,
    "limits": {"force": 100.0, "temperature": 10000.0, "distance": 0.4, "spread": None},
}
START: Any = {
    "id": "0" * 16,
    "symbols": ["O", "H"],
    "positions": [[0.0, 0.0, 0.0], [0.96, 0.0, 0.0]],
    "cell": None,
    "pbc": [False] * 3,
}


def sampling() -> Sampling:
    """`psiflow sample` without options."""
    return Sampling(MODEL, "psiflow_cli.models.mace", DYNAMICS, 1, [[300.0, 300.0]], 1000, "auto", None)


def test_settings_are_what_they_were() -> None:
    assert json.dumps(sampling().settings, sort_keys=True) == (
        '{"barostat_time": 1000.0, "batch": null, "beads": 1, "cell": "isotropic", "chain_length": 3, '
        '"engine": "auto", "ensemble": "nvt", "every": 10, "exchange": null, "fixed": [], "friction": 10.0, '
        '"limits": {"distance": 0.4, "force": 100.0, "spread": null, "temperature": 10000.0}, "masses": {}, '
        '"model": "ffffffffffffffff", "plumed": null, "pressure": 1.0, "ramp_steps": null, "seed": 0, "steps": 1000, '
        '"temperature": [[300.0, 300.0]], "thermostat": "langevin", "thermostat_time": 100.0, "timestep": 0.5, '
        '"walkers": 1}'
    )


def test_outputs_are_what_they_were_and_not_among_the_settings() -> None:
    outputs = Outputs("a.csv", None, "c.xyz", None, Discard(5.0, is_share=False))
    assert outputs.files == ("a.csv", "c.xyz")
    assert outputs.settings == {
        "properties": "a.csv", "plot": None, "final": "c.xyz", "stopped": None, "discard": [5.0, False]
    }  # fmt: skip


def test_units_and_checkpoints_are_found_by_the_same_keys(tmp_path: Path) -> None:
    walker = Walker(0, START, [300.0, 300.0])
    assert fingerprint([DYNAMICS, MODEL.fingerprint, [walker.message]]) == "3e784f1f592a9fd5"
    assert job_key(WalkerGroup(tmp_path, [walker], 1).job(sampling())) == "bf50e26ac51168b9"
