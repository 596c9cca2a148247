"""Walkers that go on from an earlier run: each from its own frame, or from its start where its error is too large."""

from __future__ import annotations

from pathlib import Path

import pytest

from psiflow_cli import extxyz
from psiflow_cli.errors import BadData
from psiflow_cli.stages.sample import continuing
from psiflow_cli.stages.sample.continuing import Reset

HEAD = "Properties=species:S:1:pos:R:3:forces:R:3:model_forces:R:3"


def frame(walker: str, error: float = 0.0, head: str = HEAD) -> str:
    """Two atoms; the first one's force is wrong by `error` (eV/Å) in one direction."""
    info = f'{head} walker={walker} energy=1.0 model_energy=1.02 pbc="F F F"'
    return f"2\n{info}\nH 0 0 {error} 1 0 0 {1 + error} 0 0\nH 0 0 1 0 0 0 0 0 0\n"


def write(path: Path, *frames: str) -> str:
    path.write_text("".join(frames))
    return str(path)


def test_only_walkers_with_a_larger_error_go_back(tmp_path: Path) -> None:
    path = write(tmp_path / "ends.xyz", frame("2", 0.3), frame("0", 0.6))
    found, why = continuing.places(path, Reset("forces", 200.0))
    assert list(found) == [2]  # 300 / √6 = 122 meV/Å
    assert list(why) == [0]
    assert "its error of forces, 244.9 meV/Å, is above 200" in why[0]
    assert continuing.places(path, Reset("energy", 10.1))[1] == {}  # 20 meV of two atoms
    assert len(continuing.places(path, Reset("energy", 9.9))[1]) == 2
    assert sorted(continuing.places(path, None)[0]) == [0, 2]
    said = continuing.summary(path, 3, found, why)
    assert said.startswith(f"1 of 3 walkers continue from {path}; walker 0 starts again: its error")
    assert said.endswith(f"walker 1 starts again: not in {path}")


@pytest.mark.parametrize(
    ("frames", "reset", "what"),
    [
        ([frame("1"), frame("1")], None, "walker 1 occurs twice"),
        ([frame("T")], None, "walker is True, which is not a walker number"),
        ([frame("0.5")], None, "walker is 0.5, which is not a walker number"),
        ([frame("-1")], None, "walker is -1, which is not a walker number"),
        (
            [frame("0", head=HEAD.replace(":forces", ":other"))],
            Reset("forces", 1.0),
            "--reset compares forces with model_forces",
        ),
        (
            [frame("0", head=HEAD.replace("model_", "more_"))],
            Reset("forces", 1.0),
            "--reset compares forces with model_forces",
        ),
    ],
)
def test_what_no_walker_can_go_on_from(tmp_path: Path, frames: list[str], reset: Reset | None, what: str) -> None:
    with pytest.raises(BadData, match=what):
        continuing.places(write(tmp_path / "ends.xyz", *frames), reset)


def test_frames_of_other_walkers_are_refused(tmp_path: Path) -> None:
    (one,) = extxyz.read(write(tmp_path / "one.xyz", frame("0")))
    (other,) = extxyz.read(write(tmp_path / "other.xyz", frame("0").replace("H 0 0 1", "O 0 0 1")))
    with pytest.raises(BadData, match="has a walker 3, but this run has 2 walkers"):
        continuing.check("f.xyz", {0: one, 1: one}, {3: one}, {3})
    with pytest.raises(BadData, match="walker 0 differs from"):
        continuing.check("f.xyz", {0: one}, {0: other}, {0})
