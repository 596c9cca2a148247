"""The tutorial for a cluster, word by word, on the emulated one."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.docs.blocks import play


@pytest.mark.full
@pytest.mark.timeout(900)
def test_the_tutorial_can_be_followed(slurm, tmp_path):
    pytest.importorskip("ase", reason="needs an extra with ASE")
    path = f"{Path(sys.executable).parent}:{slurm.environment['PATH']}"
    environment = {**slurm.environment, "PATH": path, "HOME": str(tmp_path), "USER": os.environ.get("USER", "root")}
    assert play(ROOT / "docs" / "tutorial-cluster.md", tmp_path, environment, full=True, shorter={}) >= 3
    assert (tmp_path / "labelled.xyz").read_text().count("psiflow_reference=emt-") == 16
