"""The commands of the README in a bare Debian or Ubuntu, with no more than git, python3 and python3-venv."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

COMMANDS = {
    "quickstart": "recipes/quickstart.sh",
    # of the tests, what other releases of Python, MPI, SLURM and the codes have changed before
    "tests": "tests/run.sh tests/packaging tests/references tests/runtime tests/slurm tests/samplers",
}


@pytest.mark.full
@pytest.mark.timeout(7200)
@pytest.mark.skipif(os.getuid() != 0 or not shutil.which("debootstrap"), reason="needs root and debootstrap")
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("release", ["bookworm", "trixie", "noble"])
def test_in_a_bare_root(root: Path, release: str, command: str) -> None:
    if release == "noble" and not Path("/usr/share/keyrings/ubuntu-archive-keyring.gpg").exists():
        pytest.skip("needs Ubuntu's keys: install the package ubuntu-keyring")
    script = [root / "tests" / "bare.sh", release, root / "build" / f"bare-{release}", *COMMANDS[command].split()]
    done = subprocess.run(script, capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
