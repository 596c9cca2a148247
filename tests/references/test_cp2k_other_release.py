"""The tests of CP2K with the version of another Debian release, from a bare root that is made for them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

HERE = Path(__file__).parent


@pytest.mark.full
@pytest.mark.timeout(7200)
@pytest.mark.skipif(os.getuid() != 0 or not shutil.which("debootstrap"), reason="needs root and debootstrap")
def test_debian_13_has_cp2k_2025() -> None:
    made = subprocess.run(
        [HERE / "debian_cp2k.sh", "trixie", ROOT / "build" / "trixie"], stdout=subprocess.PIPE, text=True, check=True
    )
    env = {**os.environ, "PATH": f"{made.stdout.strip()}:{os.environ['PATH']}"}
    version = subprocess.run(
        ["cp2k.psmp", "--version"], env=env, cwd="/tmp", capture_output=True, text=True, check=True
    )
    assert "CP2K version 2025" in version.stdout
    files = [*HERE.glob("test_cp2k*.py"), *(HERE.parent / "commands").glob("test_label_cp2k*.py")]
    files.remove(Path(__file__))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *map(str, sorted(files))]
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:]
