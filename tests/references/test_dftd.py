"""D3 and D4: equal to the codes' own ASE calculators, the stress the slope of the energy."""

from __future__ import annotations

from typing import Any

import pytest

from psiflow_cli.errors import BadData, UsageError
from psiflow_cli.references import dftd
from psiflow_cli.worker.failures import Fatal

pytest.importorskip("dftd3", reason="dftd3 is not installed")
pytest.importorskip("dftd4", reason="dftd4 is not installed")
D4 = dftd.settings(None, {"xc": "PBE"})
D3 = dftd.settings(None, {"xc": "pbe", "version": "d3bj"})


def one(frame: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    (label,) = dftd.label([frame], settings, {"threads": 1})
    return label


@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("version", ["d4", "d3bj", "d3zero", "d3mbj", "d3mzero"])
def test_equals_their_own_calculators(frame: Any, molecule: Any, version: str, periodic: bool) -> None:
    ase = pytest.importorskip("ase")
    wire = (frame if periodic else molecule)()
    atoms = ase.Atoms(wire["symbols"], wire["positions"], cell=wire["cell"], pbc=wire["pbc"])
    if version == "d4":
        from dftd4.ase import DFTD4

        atoms.calc = DFTD4(method="PBE")
    else:
        from dftd3.ase import DFTD3

        atoms.calc = DFTD3(method="PBE", damping=version)
    label = one(wire, dftd.settings(None, {"xc": "pbe", "version": version}))
    assert label["energy"] == pytest.approx(atoms.get_potential_energy(), abs=1e-10)
    assert label["forces"] == [pytest.approx(row, abs=1e-10) for row in atoms.get_forces().tolist()]
    assert label["energy"] < -1e-4
    if periodic:
        assert label["stress"] == pytest.approx(atoms.get_stress().tolist(), abs=1e-10)
    else:
        assert label["stress"] is None


@pytest.mark.parametrize("settings", [D3, D4])
def test_stress_is_the_slope_of_the_energy(frame: Any, settings: dict[str, Any]) -> None:
    def energy(size: float) -> float:
        scaled = {key: [[x * (1 + size), y, z] for x, y, z in frame()[key]] for key in ("positions", "cell")}
        return float(one(frame(**scaled), settings)["energy"])

    step = 1e-6  # no neighbour crosses the cut-off
    slope = (energy(step) - energy(-step)) / (2 * step) / 125.0
    assert one(frame(), settings)["stress"][0] == pytest.approx(slope, rel=1e-4)


def test_three_body_terms_and_charge(frame: Any) -> None:
    assert one(frame(), dftd.changed(D3, {"atm": "true"}))["energy"] != one(frame(), D3)["energy"]
    assert one(frame(charge=1), D4)["energy"] != one(frame(), D4)["energy"]


def test_a_slab(frame: Any) -> None:
    """Periodicity in two directions is known to both, and has no stress."""
    label = one(frame(pbc=[True, True, False]), D3)
    assert label["stress"] is None
    assert label["energy"] != one(frame(), D3)["energy"]


def test_elements() -> None:
    dftd.check(D4, {"H", "Rn"})
    dftd.check(D3, {"H", "Pu"})
    for settings, element in ((D4, "U"), (D3, "Am")):
        with pytest.raises(BadData, match=f"no parameters for {element}"):
            dftd.check(settings, {element})
    far = {"id": "0", "symbols": ["Og", "H"], "positions": [[0.0] * 3, [0.0, 0.0, 4.0]], "pbc": [False] * 3}
    assert one(far, D3)["failure"] == "invalid-input"  # the library would end the process


def test_a_functional_without_parameters(molecule: Any) -> None:
    for settings in (D3, D4):
        with pytest.raises(Fatal, match="xc=nonsense"):
            one(molecule(), dftd.changed(settings, {"xc": "nonsense"}))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "needs the functional"),
        ({"xc": "pbe", "atm": "yes"}, "atm has no effect with version=d4"),
        ({"xc": "pbe", "version": "d5"}, "must be one of d3bj"),
    ],
)
def test_wrong_options(options: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        dftd.settings(None, options)
