"""The recipe of the README, run as a user would, twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mace", reason="needs the extra mace")
pytest.importorskip("tblite", reason="needs the extra xtb")

RESULTS = (
    "labelled.xyz",
    "ethanol.model/model.toml",
    "ethanol.model/learning-curve.png",
    "parity.png",
    "trajectory.xyz",
)


def quickstart(root: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    command = [str(root / "recipes" / "quickstart.sh"), str(folder)]
    return subprocess.run(command, env={**os.environ, "PATH": path}, capture_output=True, text=True)


@pytest.mark.full
@pytest.mark.timeout(1200)
def test_the_quickstart_makes_a_model_and_is_then_up_to_date(root: Path, tmp_path: Path) -> None:
    first = quickstart(root, tmp_path)
    assert first.returncode == 0, first.stderr
    before = {name: (tmp_path / name).read_bytes() for name in RESULTS}
    summary = json.loads((tmp_path / "errors.json").read_text())
    assert summary["total"] == 12
    assert summary["table"] in first.stderr

    second = quickstart(root, tmp_path)
    assert second.returncode == 0, second.stderr
    assert second.stderr.count("up to date") >= 7
    assert {name: (tmp_path / name).read_bytes() for name in RESULTS} == before
