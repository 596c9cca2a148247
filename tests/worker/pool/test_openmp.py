"""The environment variables of threads."""

from __future__ import annotations

import pytest

from psiflow_cli.worker.pool import openmp


def test_threads_do_not_spin_unless_the_user_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    counts = {"OMP_NUM_THREADS": "3", "MKL_NUM_THREADS": "3", "OPENBLAS_NUM_THREADS": "3"}
    assert openmp.variables(3) == {**counts, "OMP_WAIT_POLICY": "passive"}
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    assert openmp.variables(3) == {**counts, "OMP_WAIT_POLICY": "active"}
