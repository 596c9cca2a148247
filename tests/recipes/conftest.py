"""Recipes run as a user would, with a family of models that costs nothing and tasks in the commands' own threads."""

from __future__ import annotations

import os
import pickle
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.commands.springs import SITE
from tests.conftest import Once
from tests.recipes import pairs

CLUSTER = """6
Properties=species:S:1:pos:R:3 pbc="F F F"
Cu 1.7 0 0
Cu -1.7 0 0
Cu 0 1.7 0
Cu 0 -1.7 0
Cu 0 0 1.7
Cu 0 0 -1.7
"""
PROJECT = f"""
[label]
reference = "emt"
[atomic-energies]
reference = "emt"
[train]
arch = "{pairs.__file__}"
members = 3
[sample]
temperature = "300"
engine = "ase"
walkers = 2
steps = 120
timestep = 2.0
every = 5
"""
LOOP = "ROUNDS=1\nFIRST=12\nAMPLITUDE=0.1\nTEST=20\nFRAMES=10\n"
Recipe = Callable[..., "subprocess.CompletedProcess[str]"]


class Learned(NamedTuple):
    """A folder in which the loop of `online-learning.sh` has come to its end."""

    folder: Path
    stdout: str
    files: dict[str, bytes]
    """What it has made."""


@pytest.fixture(scope="session")
def cheap(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment whose `psiflow` knows the cheap family, and whose site is the command's own threads."""
    folder = tmp_path_factory.mktemp("cheap")
    pairs.program(folder)
    (folder / "threads.toml").write_text(SITE)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "PSIFLOW_SITE": str(folder / "threads.toml")}


@pytest.fixture(scope="session")
def recipe(root: Path) -> Recipe:
    """Run a recipe with arguments in an environment; `code` is what it must exit with."""

    def run(name: str, *args: object, env: dict[str, str], code: int = 0) -> subprocess.CompletedProcess[str]:
        command = [str(root / "recipes" / name), *map(str, args)]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=1700)
        assert done.returncode == code, f"exit {done.returncode}, not {code}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done

    return run


@pytest.fixture(scope="session")
def start(once: Once) -> Path:
    """The frame that loops start from."""
    return once("start", lambda folder: (folder / "start.xyz").write_text(CLUSTER)) / "start.xyz"


@pytest.fixture(scope="session")
def learned(once: Once, start: Path, cheap: dict[str, str], recipe: Recipe) -> Learned:
    """One loop for all tests, in whichever process they run."""

    def make(folder: Path) -> None:
        loop = prepare(folder / "loop")
        stdout = recipe("online-learning.sh", start, loop, env=cheap).stdout
        (folder / "learned.pickle").write_bytes(pickle.dumps((stdout, made(loop))))

    folder = once("learned", make)
    return Learned(folder / "loop", *pickle.loads((folder / "learned.pickle").read_bytes()))


def prepare(folder: Path, loop: str = LOOP) -> Path:
    """A folder to learn in, with the settings of these tests."""
    folder.mkdir()
    (folder / "loop.conf").write_text(loop)
    (folder / "psiflow.toml").write_text(PROJECT)
    return folder


def made(folder: Path) -> dict[str, bytes]:
    """What a loop makes that two equal ones have in common, by name: frames, weights, models' facts."""
    found = [*folder.glob("*.xyz"), *folder.glob("*/*.xyz"), *folder.glob("round-*/committee.model/member-*/*")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}
