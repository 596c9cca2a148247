"""Trainers that need not import what they train with."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from psiflow_cli.worker.training import trainer_process
from tests import warm


@pytest.fixture(scope="module")
def warm_mace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let MACE's trainers start in processes that have it imported, which takes seven seconds of a processor."""
    python = warm.server("mace.cli.run_train").program(tmp_path_factory.mktemp("python") / "python")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer_process, "sys", SimpleNamespace(executable=python))
        yield
