"""Frames, their numbers, and where walkers ended, from trajectories written by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from psiflow_cli import extxyz
from psiflow_cli.extxyz import Frame
from psiflow_cli.worker.md.checkpoint import WalkerState
from tests.stages.sample.recorded import START, frame, recorded

DYNAMICS = {"timestep": 0.5, "beads": 1}


def read(text: str, folder: Path) -> Frame:
    (folder / "one.xyz").write_text(text)
    (found,) = extxyz.read(folder / "one.xyz")
    return found


def test_what_a_checkpoint_counts_is_read(tmp_path: Path) -> None:
    frames = [frame(0, step, START) for step in (5, 10, 15)]
    path = recorded(tmp_path, frames)
    assert list(path.frames()) == frames
    numbers = list(path.numbers())
    assert [n["step"] for n in numbers] == ["5", "10", "15"]
    assert {key: float(value) for key, value in numbers[1].items()} == {
        "walker": 0, "step": 10, "time": 5.0, "temperature": 310.0, "volume": 125.0, "model_energy": -1.0,
        "kinetic_energy": 0.25, "total_energy": -0.75, "pressure": pytest.approx(2 * 0.25 / 3 / 125.0 * 1.602176634e6),
    }  # fmt: skip
    assert path.columns() == [
        *("walker", "step", "time", "temperature", "pressure", "volume"),
        *("model_energy", "kinetic_energy", "total_energy"),
    ]
    nothing = recorded(tmp_path, [], 1)
    assert (list(nothing.frames()), list(nothing.numbers()), nothing.columns()) == ([], [], [])


def test_what_only_some_frames_have(tmp_path: Path) -> None:
    """Beads, a committee, the thermostat of an exchange, charge, and numbers that an engine adds."""
    start = {**START, "charge": -1, "multiplicity": 2}
    more = {"bead": 3, "estimator": 1.5, "word": "yes", "flag": True}
    text = frame(2, 4, start, {"exchange": 10}, target=330.0, spread=(0.02, [0.1, 0.3]), more=more)
    (numbers,) = recorded(tmp_path, [text], 2, start).numbers()
    assert (numbers["bead"], numbers["target_temperature"], numbers["model_energy_std"]) == ("3", "330.0", "0.02")
    assert numbers["max_model_forces_std"] == "0.3"
    assert numbers["estimator"] == "1.5"
    assert not {"word", "flag", "charge", "multiplicity", "pbc"} & set(numbers)
    assert list(numbers)[:2] == ["walker", "bead"]
    assert list(numbers)[-1] == "estimator"


def test_the_last_sound_frame_says_why_its_walker_was_stopped(tmp_path: Path) -> None:
    stop = {"reason": 'force 120 eV/Å > 100 eV/Å, "far"', "kind": "force", "step": 13}
    frames = [frame(1, step, START) for step in (5, 10)]
    found = read(recorded(tmp_path, frames, 1, stopped=stop).stopped(), tmp_path)
    assert found.info["step"] == 10
    assert found.info["model_energy"] == -1.0
    assert {key: found.info[f"stop_{key}"] for key in stop} == stop
    assert (found.positions, found.cell, found.pbc) == (START["positions"], START["cell"], START["pbc"])


def test_a_walker_that_recorded_nothing_is_given_by_its_start(tmp_path: Path) -> None:
    stop = {"reason": "force 120 eV/Å > 100 eV/Å", "kind": "force", "step": 0}
    start = {**START, "charge": 1}
    found = read(recorded(tmp_path, [], 1, start, stopped=stop).stopped(), tmp_path)
    assert found.info == {
        "walker": 1, "step": 0, "stop_kind": "force", "stop_step": 0, "stop_reason": stop["reason"], "charge": 1,
    }  # fmt: skip
    assert found.positions == START["positions"]


def test_the_final_state_is_a_start(tmp_path: Path) -> None:
    start = {**START, "masses": [15.995, 2.014], "fixed": [0], "charge": 1, "multiplicity": 3}
    cell = [[5.1, 0.0, 0.0], [0.1, 5.0, 0.0], [0.0, 0.0, 4.9]]
    state = WalkerState(7, [[0.1, 0.2, 0.3], [1.0, 0.0, 1e-17]], [[0.0] * 3] * 2, cell, {})
    found = read(recorded(tmp_path, [frame(4, 5, START)], 4, start).final(state, DYNAMICS), tmp_path)
    assert found.info == {"walker": 4, "step": 7, "time": 3.5, "charge": 1, "multiplicity": 3}
    assert (found.positions, found.cell, found.pbc) == (state.positions, cell, [True] * 3)
    assert found.column("masses") == [15.995, 2.014]
    assert found.column("move_mask") == [False, True]
    bare = read(recorded(tmp_path, [], 4).final(state, DYNAMICS), tmp_path)
    assert bare.column("momenta") == state.momenta
    assert [name for name, _, _ in bare.properties] == ["species", "pos", "momenta"]
    beads = read(recorded(tmp_path, [], 4).final(state, {**DYNAMICS, "beads": 4}), tmp_path)
    assert beads.layout.find("momenta") is None, "those of the centroids are no start of beads"
