"""constraints.txt has one version of everything that pyproject.toml asks for, on every Python that it allows."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import pytest

from psiflow_cli import toml

requirements = pytest.importorskip("packaging.requirements", reason="needs packaging")

PYTHONS = ("3.10", "3.11", "3.12", "3.13")


@pytest.mark.parametrize("python", PYTHONS)
def test_every_requirement_has_one_version(root: Path, python: str) -> None:
    project = toml.loads((root / "pyproject.toml").read_text())["project"]
    pins: dict[str, str] = {}
    for line in (root / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#") and holds(pin := requirements.Requirement(line), python):
            assert pin.name not in pins
            (pins[pin.name],) = (each.version for each in pin.specifier)
    lines = chain(project["dependencies"], *project["optional-dependencies"].values())
    for needed in map(requirements.Requirement, lines):
        if holds(needed, python):
            name = next((name for name in pins if same(name) == same(needed.name)), None)
            assert name, f"no version of {needed.name} for Python {python}"
            assert needed.specifier.contains(pins[name]), needed


def holds(requirement: requirements.Requirement, python: str) -> bool:
    return requirement.marker is None or bool(requirement.marker.evaluate({"python_version": python}))


def same(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")
