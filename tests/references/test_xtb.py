"""xTB: equal to tblite's own ASE calculator, its stress to finite differences, its failures in the right class."""

from __future__ import annotations

from typing import Any

import pytest

from psiflow_cli.errors import BadData, UsageError
from psiflow_cli.references import xtb

pytest.importorskip("tblite", reason="tblite is not installed")
GFN1 = xtb.settings(None, {})
GFN2 = xtb.settings(None, {"method": "gfn2"})


def one(frame: dict[str, Any], settings: dict[str, Any] = GFN1) -> dict[str, Any]:
    (label,) = xtb.label([frame], settings, {"threads": 1})
    return label


@pytest.mark.parametrize(
    ("settings", "periodic", "state"),
    [(GFN1, True, {}), (GFN1, False, {}), (GFN2, False, {}), (GFN1, False, {"charge": 1, "multiplicity": 2})],
)
def test_equals_tblites_ase_calculator(
    frame: Any, molecule: Any, settings: dict[str, Any], periodic: bool, state: dict[str, int]
) -> None:
    import ase
    from tblite.ase import TBLite

    wire = (frame if periodic else molecule)(**state)
    atoms = ase.Atoms(wire["symbols"], wire["positions"], cell=wire["cell"], pbc=wire["pbc"])
    atoms.calc = TBLite(method=settings["method"], verbosity=0, **state)
    label = one(wire, settings)
    assert label["energy"] == pytest.approx(atoms.get_potential_energy(), abs=1e-7)
    assert label["forces"] == [pytest.approx(row, abs=1e-6) for row in atoms.get_forces().tolist()]
    if periodic:
        assert label["stress"] == pytest.approx(atoms.get_stress().tolist(), abs=1e-8)
    else:
        assert label["stress"] is None
    assert label["code"].startswith("tblite ")


STRAINS = [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]


@pytest.mark.parametrize("component", range(6))
def test_stress_is_the_derivative_of_the_energy(frame: Any, component: int) -> None:
    i, j = STRAINS[component]

    def strained(rows: list[list[float]], size: float) -> list[list[float]]:
        return [[x + size * (row[j] if k == i else 0.0) for k, x in enumerate(row)] for row in rows]

    def energy(size: float) -> float:
        changed = {key: strained(frame()[key], size) for key in ("positions", "cell")}
        return float(one(frame(**changed))["energy"])

    slope = (energy(1e-3) - energy(-1e-3)) / 2e-3 / 125.0
    assert one(frame())["stress"][component] == pytest.approx(slope, abs=2e-6)


@pytest.mark.parametrize(
    ("changes", "settings", "kind", "message"),
    [
        ({"positions": [[0, 0, 0.1], [0, 0, 5.1], [-0.77, 0, 0.5]]}, GFN1, "invalid-input", "0.000 Å apart"),
        ({}, GFN2, "invalid-input", "GFN2-xTB is for molecules only"),
        ({"pbc": [True, True, False]}, GFN1, "invalid-input", "three directions or in none"),
        ({"multiplicity": 2}, GFN1, "invalid-input", "unpaired electrons (1)"),
        ({"charge": 1, "multiplicity": 1}, GFN1, "invalid-input", "multiplicity 1 is impossible for 7"),
        ({"multiplicity": 21}, GFN1, "invalid-input", "multiplicity 21 is impossible for 8"),
        ({"charge": 20}, GFN1, "invalid-input", "charge 20 removes more electrons"),
        ({}, xtb.settings(None, {"max_iterations": "2"}), "unconverged", "not converged in 2 cycles"),
    ],
)
def test_failures(frame: Any, changes: dict[str, Any], settings: dict[str, Any], kind: str, message: str) -> None:
    label = one(frame(**changes), settings)
    assert label["failure"] == kind
    assert message in label["message"]


def test_nothing_is_printed(frame: Any, capfd: pytest.CaptureFixture[str]) -> None:
    one(frame())
    assert capfd.readouterr() == ("", "")


def test_settings_are_the_same_however_they_are_written() -> None:
    assert xtb.settings(None, {"method": "gfn1-xtb", "accuracy": "1"}) == GFN1
    assert GFN2["method"] == "GFN2-xTB"
    assert xtb.settings(None, {"accuracy": "0.1"}) != GFN1


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        ({"methd": "GFN1-xTB"}, "unknown option 'methd'", "did you mean 'method'?"),
        ({"charge": "1"}, "unknown option 'charge'", "set it in each frame"),
        ({"method": "GFN3-xTB"}, "unknown method 'GFN3-xTB'", "GFN"),
        ({"accuracy": "-1"}, "accuracy=-1", ""),
        ({"max_iterations": "many"}, "max_iterations=many", ""),
    ],
)
def test_wrong_options(options: dict[str, str], message: str, hint: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        xtb.settings(None, options)
    assert hint in caught.value.hint


def test_elements() -> None:
    xtb.check(GFN1, {"H", "Rn"})
    with pytest.raises(BadData, match="the element U"):
        xtb.check(GFN1, {"H", "U"})
