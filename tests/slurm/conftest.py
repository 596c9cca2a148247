"""One emulated cluster for all tests of this folder."""

from __future__ import annotations

import contextlib
import fcntl
import socket
import tempfile
from collections.abc import Iterator
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
        _ports() as port,
        tempfile.TemporaryDirectory(prefix="psiflow-slurm-", ignore_cleanup_errors=True) as folder,
    ):
        Path(folder).chmod(0o755)
        with cluster.Cluster(Path(folder) / "cluster", port) as running:
            yield running


@contextlib.contextmanager
def _ports() -> Iterator[int]:
    """The first of the ports of this cluster: those that no other test run on this host has locked."""
    for port in range(16800, 18800, 100):
        with Path(tempfile.gettempdir(), f"psiflow-emulated-slurm-{port}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            if not all(map(_is_free, range(port, port + 10))):  # a cluster in another root of this host
                continue
            yield port
            return
    pytest.fail("twenty emulated clusters run on this host")


def _is_free(port: int) -> bool:
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
