"""psiflow sample --continue: each walker goes on from its own frame, and one that is not there begins again."""

from __future__ import annotations

from pathlib import Path

import pytest

from psiflow_cli import extxyz
from tests import warm
from tests.commands import springs

pytest.importorskip("ase.md.langevinbaoab", reason="needs ASE 3.27 or later")


START = """3
Lattice="9 0 0 0 9 0 0 0 9" Properties=species:S:1:pos:R:3:move_mask:L:1 pbc="T T T"
O 0.01 0 0 F
H 0.96 0 0 T
H -0.24 0.93 0 T
"""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PSIFLOW_SITE", raising=False)
    springs.bundle(Path("springs.model"))
    Path("threads.toml").write_text(springs.SITE)
    Path("start.xyz").write_text(START)


def sample(*arguments, code=0):
    usual = ("--model", "springs.model", "--site", "threads.toml", "--engine", "ase", "--ensemble", "nve")
    dynamics = ("--seed", 5, "--every", 20, "--walkers", 2, "--velocities")
    done = warm.server().run([springs.__file__, "sample", "start.xyz", *usual, *map(str, (*dynamics, *arguments))])
    assert done.returncode == code, f"exit {done.returncode}, not {code}\n{done.stdout}\n{done.stderr}"
    return done.stderr


def paths(name):
    """Positions and momenta of the frames of each walker."""
    found = [], []
    for frame in extxyz.read(name):
        found[frame.info["walker"]].append((frame.positions, frame.column("momenta")))
    return found


def test_each_walker_goes_on_and_one_that_is_lost_begins_again():
    sample("--steps", 80, "-o", "whole.xyz")
    sample("--steps", 40, "-o", "first.xyz", "--final", "final.xyz")
    Path("one.xyz").write_text("".join(Path("final.xyz").read_text().splitlines(keepends=True)[5:]))
    said = sample("--steps", 40, "-o", "second.xyz", "--continue", "one.xyz")
    assert "1 of 2 walkers continue from one.xyz; walker 0 starts again: not in one.xyz" in said
    assert paths("second.xyz")[1] == paths("whole.xyz")[1][2:]
    assert paths("second.xyz")[0] == paths("first.xyz")[0]
    again = sample("--steps", 40, "-o", "second.xyz", "--continue", "one.xyz")
    assert "up to date" in again
    assert "--reset has no effect without --continue" in sample("--steps", 4, "--reset", "forces:9", code=2)
    assert "'forces' is neither" in sample("--steps", 4, "--continue", "one.xyz", "--reset", "forces", code=2)
    assert "--reset compares forces with model_forces" in sample(
        "--steps", 4, "-o", "third.xyz", "--continue", "one.xyz", "--reset", "forces:9", code=65
    )
