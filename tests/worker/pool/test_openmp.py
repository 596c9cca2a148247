"""The environment variables of threads."""

from __future__ import annotations

import pytest

from psiflow_cli.worker.pool import openmp


def test_threads_spin_for_a_short_time_unless_the_user_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)
    counts = {"OMP_NUM_THREADS": "3", "MKL_NUM_THREADS": "3", "OPENBLAS_NUM_THREADS": "3"}
    assert openmp.variables(3, {}) == {**counts, "GOMP_SPINCOUNT": "10000"}
    assert openmp.variables(3, {"GOMP_SPINCOUNT": "8"}) == {**counts, "GOMP_SPINCOUNT": "8"}
    site = {"OMP_WAIT_POLICY": "active", "OMP_NUM_THREADS": "2"}
    assert openmp.variables(3, site) == {**counts, **site}
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    assert openmp.variables(3, {})["GOMP_SPINCOUNT"] == "7"
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    assert openmp.variables(3, {}) == counts
