"""Frames that no method can label, and labels that do not fit their frame."""

from __future__ import annotations

from typing import Any

import pytest

from psiflow_cli import voigt
from psiflow_cli.worker.structures import labels, validity

pytest.importorskip("ase", reason="ASE is not installed")
CUBE = [[5.0, 0.0, 0.0], [0.0, 5.0, 0.0], [0.0, 0.0, 5.0]]


def water(**changes: Any) -> dict[str, Any]:
    positions = [[0.0, 0.0, 0.0], [0.76, 0.0, 0.6], [-0.76, 0.0, 0.6]]
    return {"symbols": ["O", "H", "H"], "positions": positions, "cell": CUBE, "pbc": [True] * 3, **changes}


def test_a_sound_frame() -> None:
    assert validity.invalid(water()) == ""
    assert validity.invalid(water(cell=None, pbc=[False] * 3)) == ""
    assert validity.invalid(water(charge=10, multiplicity=1)) == ""


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"symbols": [], "positions": []}, "no atoms"),
        ({"symbols": ["O"]}, "3 positions for 1 atom"),
        ({"positions": [[0.0, 0.0, 0.0], [0.0, float("inf"), 0.0], [1.0, 1.0, 1.0]]}, "atom 2 (H) is not finite"),
        ({"symbols": ["O", "Q", "H"]}, "unknown element 'Q'"),
        ({"symbols": ["O", "X", "H"]}, "unknown element 'X'"),
        ({"multiplicity": 0}, "multiplicity 0"),
        ({"charge": 11}, "charge 11 removes more electrons"),
        ({"cell": None}, "cell is missing"),
        ({"cell": [[0.0] * 3] * 3}, "no volume"),
        ({"cell": [[0.0] * 3] * 3, "pbc": [True, False, False]}, "no volume"),
        (
            {"positions": [[0.0, 0.0, 0.0], [4.95, 5.0, 0.0], [1.0, 1.0, 1.0]]},
            "O (atom 1) and H (atom 2) are 0.050 Å apart across the cell boundary",
        ),
        (
            {"symbols": ["H"], "positions": [[0.0] * 3], "cell": [[0.05, 0, 0], [0, 5, 0], [0, 0, 5]]},
            "atom 1 is 0.050 Å from its image",
        ),
    ],
)
def test_what_is_wrong(changes: dict[str, Any], message: str) -> None:
    assert message in validity.invalid(water(**changes))


def test_images_do_not_count_without_periodicity() -> None:
    apart = [[0.0, 0.0, 0.0], [4.95, 5.0, 0.0], [1.0, 1.0, 1.0]]
    assert validity.invalid(water(positions=apart, pbc=[False] * 3)) == ""


@pytest.mark.parametrize(
    ("energy", "forces", "stress", "message"),
    [
        (float("nan"), [[0.0] * 3] * 3, None, "not a finite"),
        (1.0, [[0.0, 0.0, float("inf")]] * 3, None, "not a finite"),
        (1.0, [[0.0] * 3] * 3, [float("nan")] * 6, "not a finite"),
        (1.0, [[0.0] * 3] * 2, None, "2 forces for 3 atoms"),
    ],
)
def test_inconsistent_labels(energy: float, forces: Any, stress: Any, message: str) -> None:
    made = labels.label(water(), energy, forces, stress, "code", "a.log")
    assert made["failure"] == "inconsistent"
    assert message in made["message"]
    assert made["log"] == "a.log"


def test_a_label_is_made_of_builtins() -> None:
    numpy = pytest.importorskip("numpy", reason="numpy is not installed")
    made = labels.label(water(), numpy.float64(1), numpy.ones((3, 3)), numpy.ones(6), "code")
    assert type(made["energy"]) is float
    assert type(made["forces"][0][0]) is float
    assert type(made["stress"][0]) is float


def test_voigt_order() -> None:
    assert voigt.from_matrix([[1, 6, 5], [6, 2, 4], [5, 4, 3]]) == [1, 2, 3, 4, 5, 6]
