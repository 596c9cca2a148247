"""The `full` marker and its option, and the fixtures that every test may use."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--full`."""
    parser.addoption("--full", action="store_true", help="also run the long tests (marked full)")


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker `full`."""
    config.addinivalue_line("markers", "full: takes minutes; runs with --full only")


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist looks for the groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip the long tests unless they are asked for.

    Tests run side by side (pytest-xdist), a file after the other in each process. Those of the one emulated cluster
    are one group, and the first, since it takes longest.
    """
    for item in items:
        item.add_marker(pytest.mark.xdist_group("slurm" if _on_cluster(item) else item.path.name))
    items.sort(key=_on_cluster, reverse=True)
    if config.getoption("--full"):
        return
    skip = pytest.mark.skip(reason="long test: give --full")
    for item in items:
        if "full" in item.keywords:
            item.add_marker(skip)


def _on_cluster(item: pytest.Item) -> bool:
    return "slurm" in getattr(item, "fixturenames", ())


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
