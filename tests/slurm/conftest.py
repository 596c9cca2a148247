"""One emulated cluster for all tests of this folder."""

from __future__ import annotations

import fcntl
import tempfile
from pathlib import Path

import pytest

from tests.slurm import cluster


@pytest.fixture(scope="session")
def slurm():
    """The running cluster; skips where none can be started."""
    if reason := cluster.missing():
        pytest.skip(reason)
    # munged runs as a user of its own, who could not enter pytest's private folders
    with (
        Path(tempfile.gettempdir(), "psiflow-emulated-slurm.lock").open("w") as lock,
        tempfile.TemporaryDirectory(prefix="psiflow-slurm-", ignore_cleanup_errors=True) as folder,
    ):
        fcntl.flock(lock, fcntl.LOCK_EX)  # its ports are fixed: one cluster on a host
        Path(folder).chmod(0o755)
        with cluster.Cluster(Path(folder) / "cluster") as running:
            yield running
