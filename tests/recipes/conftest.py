"""Recipes run as a user would, with a family of models that costs nothing and tasks in the commands' own threads."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.commands.springs import SITE
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
Recipe = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def cheap(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment whose `psiflow` knows the cheap family, and whose site is the command's own threads."""
    folder = tmp_path_factory.mktemp("program")
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
