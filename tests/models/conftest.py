"""Trainers that need not import what they train with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import warm


@pytest.fixture(scope="module")
def warm_mace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let MACE's trainers start in processes that have it imported, which takes seven seconds of a processor."""
    with warm.trainers(tmp_path_factory.mktemp("python"), "mace.cli.run_train"):
        yield


@pytest.fixture(scope="module")
def warm_nequip(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The same for those of NequIP and Allegro."""
    with warm.trainers(tmp_path_factory.mktemp("python"), *warm.NEQUIP):
        yield
