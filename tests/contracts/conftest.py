"""The context of a task on one core."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture(scope="session")
def context(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("task")
    return {
        **{"scratch": str(folder / "scratch"), "logs": str(folder / "logs"), "device": "cpu", "dtype": None},
        **{"cores": 1, "ranks": 1, "threads": 1, "gpus": 0, "memory": None, "walltime": None},
        **{"launch": "", "executable": "", "env": {}, "cpus": None},
    }
