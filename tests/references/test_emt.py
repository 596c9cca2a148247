"""EMT: equal to ASE's calculator, honest about what it cannot do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from psiflow_cli.errors import BadData, UsageError
from psiflow_cli.references import emt

pytest.importorskip("ase", reason="ASE is not installed")
COPPER: dict[str, Any] = {
    "symbols": ["Cu"] * 4,
    "positions": [[0.05, 0.0, 0.0], [1.8, 1.8, 0.0], [1.8, 0.0, 1.85], [0.0, 1.75, 1.8]],
    "cell": [[3.6, 0.0, 0.0], [0.0, 3.6, 0.1], [0.0, 0.0, 3.65]],
    "pbc": [True] * 3,
}


def test_equals_ase(frame: Any) -> None:
    import ase
    from ase.calculators.emt import EMT

    (label,) = emt.label([frame(**COPPER)], emt.settings(None, {}), {})
    atoms = ase.Atoms(**COPPER, calculator=EMT())  # type: ignore[no-untyped-call]
    assert label["energy"] == pytest.approx(atoms.get_potential_energy(), abs=1e-12)
    assert label["forces"] == [pytest.approx(row, abs=1e-12) for row in atoms.get_forces().tolist()]
    assert label["stress"] == pytest.approx(atoms.get_stress().tolist(), abs=1e-12)
    assert label["code"] == f"ASE {ase.__version__} EMT"


def test_stress_is_the_derivative_of_the_energy(frame: Any) -> None:
    def energy(strain: float) -> float:
        scale = 1 + strain
        grown = {k: [[x * scale for x in row] for row in COPPER[k]] for k in ("positions", "cell")}
        (label,) = emt.label([frame(**(COPPER | grown))], {}, {})
        return float(label["energy"])

    (label,) = emt.label([frame(**COPPER)], {}, {})
    volume = 3.6 * 3.6 * 3.65
    assert (energy(1e-5) - energy(-1e-5)) / 2e-5 / volume == pytest.approx(sum(label["stress"][:3]), rel=1e-4)


def test_a_molecule_has_no_stress(molecule: Any) -> None:
    (label,) = emt.label([molecule()], {}, {})
    assert label["stress"] is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"positions": [[0.0, 0.0, 0.0], [0.0, 0.0, 5.04], [1.0, 0.0, 0.0]]}, "O (atom 1) and H (atom 2) are 0.040 Å"),
        ({"positions": [[float("nan"), 0.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]}, "atom 1 (O) is not finite"),
        ({"symbols": ["Fe", "H", "H"]}, "the element Fe"),
        ({"cell": None}, "its cell is missing"),
        ({"cell": [[5.0, 0.0, 0.0], [0.0, 5.0, 0.0], [0.0, 5.0, 0.0]]}, "no volume"),
    ],
)
def test_impossible_frames_are_invalid_input(frame: Any, changes: dict[str, Any], message: str) -> None:
    bad, good = emt.label([frame(**changes), frame()], {}, {})
    assert bad["failure"] == "invalid-input"
    assert message in bad["message"]
    assert "energy" in good


def test_unknown_elements_and_options() -> None:
    emt.check({}, {"Cu", "O"})
    with pytest.raises(BadData, match="element Fe"):
        emt.check({}, {"Cu", "Fe"})
    with pytest.raises(UsageError, match="'cutoff'"):
        emt.settings(None, {"cutoff": "1"})
    with pytest.raises(UsageError, match="no input file"):
        emt.settings(Path("cp2k.inp"), {})
