"""What holds for the back ends of every seam: builtins on the wire, the Protocol's names, and small systems."""

from __future__ import annotations

import inspect
import json
import math
from typing import Any

import pytest

from psiflow_cli import registry
from psiflow_cli.worker.failures import FAILURES

Wire = dict[str, Any]

STEP = 1e-3
"""Å, or strain: of numerical derivatives."""


def every_name_has_a_row(kind: str, rows: dict[str, Any]) -> None:
    """A back end without a row here is not tested."""
    assert set(rows) == set(registry.names(kind)), f"add a row for each of psiflow_cli/{kind}/ to this file"


def satisfies(module: Any, protocol: type) -> None:
    """The module has every attribute and function of the Protocol, with the same parameters."""
    for name in protocol.__annotations__:
        assert hasattr(module, name), f"{module.__name__} states no {name}"
    for name, function in vars(protocol).items():
        if inspect.isfunction(function) and not name.startswith("_"):
            wanted = list(inspect.signature(function).parameters)[1:]
            assert list(inspect.signature(getattr(module, name)).parameters) == wanted, f"{module.__name__}.{name}"
    assert module.SUMMARY.strip() == module.SUMMARY != ""
    assert "\n" not in module.SUMMARY
    assert isinstance(module.REQUIRES, tuple)


def is_builtin(value: Any) -> None:
    """Only builtins cross the wire, so JSON gives them back as they were."""
    assert json.loads(json.dumps(value)) == value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        is_builtin(part)
    assert type(value) in (dict, list, str, int, float, bool, type(None)), f"{type(value)} crosses the wire"


def is_label(label: Wire, frame: Wire, *more: str) -> None:
    """An energy, a force for each atom, and a stress for a crystal only; all finite, and nothing else but `more`."""
    assert "failure" not in label, label
    assert set(label) == {"energy", "forces", "stress", *more}
    is_builtin(label)
    assert isinstance(label["energy"], float)
    assert [len(row) for row in label["forces"]] == [3] * len(frame["symbols"])
    if all(frame["pbc"]):
        assert len(label["stress"]) == 6
    elif not any(frame["pbc"]):
        assert label["stress"] is None
    numbers = [label["energy"], *(x for row in label["forces"] for x in row), *(label["stress"] or [])]
    assert all(map(math.isfinite, numbers))


def is_failure(result: Wire, kind: str) -> None:
    """A class of the contract and a text of one line."""
    assert set(result) == {"failure", "message", "log"}, result
    is_builtin(result)
    assert kind in FAILURES
    assert result["failure"] == kind
    assert result["message"]
    assert "\n" not in result["message"]


def moved(frame: Wire, atom: int, axis: int, by: float) -> Wire:
    """The frame with one coordinate changed."""
    positions = [list(row) for row in frame["positions"]]
    positions[atom][axis] += by
    return {**frame, "positions": positions}


def strained(frame: Wire, axis: int, by: float) -> Wire:
    """The frame with one axis of space stretched."""
    scale = [1.0 + by * (i == axis) for i in range(3)]

    def stretch(rows: list[list[float]]) -> list[list[float]]:
        return [[x * s for x, s in zip(row, scale, strict=True)] for row in rows]

    return {**frame, "positions": stretch(frame["positions"]), "cell": stretch(frame["cell"])}


def derivatives(energies: list[float], volume: float = 1.0) -> float:
    """dE/dx of energies at +STEP and -STEP, over a volume."""
    return (energies[0] - energies[1]) / (2 * STEP) / volume


def volume(frame: Wire) -> float:
    """Å³ of the cell."""
    a, b, c = frame["cell"]
    cross = [b[1] * c[2] - b[2] * c[1], b[2] * c[0] - b[0] * c[2], b[0] * c[1] - b[1] * c[0]]
    return abs(sum(x * y for x, y in zip(a, cross, strict=True)))


def needs(module: Any) -> None:
    """Skip where a package that the back end requires is missing."""
    for package in module.REQUIRES:
        pytest.importorskip(package, reason=f"{module.__name__} needs {package}")
