"""One rattled water in a 5 Å box as it crosses the wire, and the context of a task on one core."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Make = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def frame() -> Make:
    """A periodic water, with the keys that are given changed."""

    def make(**changes: Any) -> dict[str, Any]:
        return {
            "id": "0123456789abcdef",
            "symbols": ["O", "H", "H"],
            "positions": [[0.0, 0.0, 0.1], [0.76, 0.0, 0.6], [-0.77, 0.05, 0.57]],
            "cell": [[5.0, 0.0, 0.0], [0.0, 5.0, 0.0], [0.0, 0.0, 5.0]],
            "pbc": [True] * 3,
            **changes,
        }

    return make


@pytest.fixture(scope="session")
def molecule(frame: Make) -> Make:
    """The same water without a cell."""

    def make(**changes: Any) -> dict[str, Any]:
        return frame(**{"cell": None, "pbc": [False] * 3, **changes})

    return make


@pytest.fixture(scope="session")
def context(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """A task's context with folders of its own, with the keys that are given changed."""

    def make(**changes: Any) -> dict[str, Any]:
        folder: Path = tmp_path_factory.mktemp("task")
        return {
            **{"scratch": str(folder / "scratch"), "logs": str(folder / "logs"), "device": "cpu", "dtype": None},
            **{"cores": 1, "ranks": 1, "threads": 1, "gpus": 0, "memory": None, "walltime": None},
            **{"launch": "", "executable": "", "env": {}, "cpus": None},
            **changes,
        }

    return make
