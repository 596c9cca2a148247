"""The `full` marker and its option, and the fixtures that every test may use."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import durations

ROOT = Path(__file__).parents[1]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--full`, `--soak` and `--store-durations`."""
    parser.addoption("--full", action="store_true", help="also run the long tests (marked full)")
    parser.addoption("--soak", type=float, default=30, help="how many minutes the soak of tests/faults lasts")
    parser.addoption("--soak-seed", type=int, default=0, help="of its chaos; 0: another one each time")
    parser.addoption("--store-durations", action="store_true", help="store what each file took")


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker `full`, and take the time."""
    config.addinivalue_line("markers", "full: takes minutes; runs with --full only")
    config.pluginmanager.register(durations.Clock())


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Side by side, the tests of a group run in one process, and the groups begin in the order of the tests."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return durations.group(nodeid)

    config.option.loadscopereorder = False  # xdist would begin with the group that has most tests
    return Scheduling(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with what takes longest, and skip the long tests unless they are asked for."""
    durations.longest_first(items)
    if config.getoption("--full"):
        return
    skip = pytest.mark.skip(reason="long test: give --full")
    for item in items:
        if "full" in item.keywords:
            item.add_marker(skip)


Once = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """`once(name, make)`: a folder that `make` has filled, one time only for all processes of this run."""
    own = tmp_path_factory.getbasetemp()
    common = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own

    def filled(name: str, make: Callable[[Path], object]) -> Path:
        folder = common / name
        folder.mkdir(exist_ok=True)
        whole = common / f"{name}.whole"
        with (common / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not whole.exists():
                make(folder)
                whole.touch()
        return folder

    return filled


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
