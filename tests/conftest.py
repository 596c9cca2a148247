"""The `full` marker and its option, and the fixtures that every test may use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--full`."""
    parser.addoption("--full", action="store_true", help="also run the long tests (marked full)")


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker `full`."""
    config.addinivalue_line("markers", "full: takes minutes; runs with --full only")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Where tests run side by side, a file is one group, since its tests share fixtures; so is the emulated cluster."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = str(super()._split_scope(nodeid))
            return "slurm" if file.startswith("tests/slurm/") else file

    return Scheduling(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip the long tests unless they are asked for; the cluster's tests take longest and come first."""
    items.sort(key=lambda item: "slurm" not in item.path.parts)
    if config.getoption("--full"):
        return
    skip = pytest.mark.skip(reason="long test: give --full")
    for item in items:
        if "full" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def root() -> Path:
    """The root of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of public data sets beside the checkout; skips where it is absent."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no data sets in ../shared/data")
    return folder
