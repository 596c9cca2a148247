"""Numbers of a code as a label: what fits the frame, and what a frame has no use for."""

from __future__ import annotations

import math

import pytest

from psiflow_cli.worker.md import frame_record
from psiflow_cli.worker.structures.labels import label

STRESS = [0.1, 0.2, 0.3, 0.0, 0.0, 0.0]
FRAME = {"id": "", "symbols": ["H"], "positions": [[0.0, 0.0, 0.0]], "cell": [[9, 0, 0], [0, 9, 0], [0, 0, 9]]}


@pytest.mark.parametrize("pbc", [[True, True, False], [False] * 3, None])
def test_a_frame_that_is_not_periodic_everywhere_has_no_stress(pbc):
    frame = {**FRAME, "pbc": pbc} if pbc else FRAME
    for stress in (STRESS, [math.nan] * 6, None):
        result = label(frame, -1.0, [[0.0, 0.0, 0.0]], stress, "code")
        assert result == {"energy": -1.0, "forces": [[0.0] * 3], "stress": None, "code": "code"}


def test_a_crystal_has_one():
    crystal = {**FRAME, "pbc": [True] * 3}
    assert label(crystal, -1.0, [[0.0, 0.0, 0.0]], STRESS, "code")["stress"] == STRESS
    assert label(crystal, -1.0, [[0.0, 0.0, 0.0]], [math.nan] * 6, "code")["failure"] == "inconsistent"


@pytest.mark.parametrize(("pbc", "there"), [([True] * 3, True), ([True, True, False], False)])
def test_no_pressure_of_a_slab_is_recorded(pbc, there):
    record = frame_record.FrameRecord(
        step=1,
        positions=FRAME["positions"],
        cell=FRAME["cell"],
        energy=-1.0,
        kinetic=0.1,
        temperature=300.0,
        stress=STRESS,
    )
    text = frame_record.text({"timestep": 1.0}, {"walker": 0, "start": {**FRAME, "pbc": pbc}}, record)
    assert ("pressure=" in text) == there
