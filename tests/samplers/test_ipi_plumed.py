"""PLUMED through i-PI: with a stand-in that keeps to the names and units of its interface, and with PLUMED itself.

The stand-in holds every atom at 0.5 Å along x by a spring of 3 eV/Å², given in PLUMED's units, and prints the mean x.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

np = pytest.importorskip("numpy")
pytest.importorskip("ase")
pytest.importorskip("ipi")

from ase import units  # noqa: E402

from psiflow_cli.samplers import ipi as engine  # noqa: E402
from psiflow_cli.worker import failures  # noqa: E402
from tests.samplers import ipi_systems as usual  # noqa: E402

SPRING = 3.0
PLACE = 0.5
TEXT = "p: POSITION ATOM=1 NOPBC\nRESTRAINT ARG=p.x AT=0.05 KAPPA=1\nPRINT ARG=p.x FILE=COLVAR STRIDE=5\n"


class Plumed:
    """What of PLUMED's interface is used: in nm, kJ/mol and ps inside, in the caller's units outside."""

    def __init__(self, kernel: str | None = None) -> None:
        self.given: dict[str, Any] = {}

    def cmd(self, what: str, value: Any = None) -> None:
        self.given[what] = value
        if what == "readInputLine":
            raise RuntimeError("no other lines")
        if what == "init":
            text = Path(self.given["setPlumedDat"]).read_text()
            if "RESTRAINT" not in text:
                raise RuntimeError("(tools/Action) cannot understand line:\n NONSENSE")
            Path(self.given["setLogFile"]).write_text(
                "".join(f"PLUMED: Action {line.split()[-1 if ':' in line else 0]}\n" for line in text.splitlines())
            )
            self.colvar = Path("COLVAR").open("a" if self.given.get("setRestart") else "w")  # noqa: SIM115
        elif what == "performCalcNoUpdate":
            length, energy = self.given["setMDLengthUnits"], self.given["setMDEnergyUnits"]
            away = self.given["setPositions"][:, 0] * length - PLACE * 0.1
            spring = SPRING * (units.mol / units.kJ) * 100.0  # kJ/mol/nm²
            self.given["setForces"][:, 0] -= spring * away * length / energy
            self.bias = 0.5 * spring * float(away @ away) / energy
        elif what == "getBias":
            value[0] = self.bias
        elif what == "update" and self.given["setStep"] % 5 == 0:
            time = self.given["setStep"] * self.given["setTimestep"] * self.given["setMDTimeUnits"]
            mean = self.given["setPositions"][:, 0].mean() * self.given["setMDLengthUnits"]
            print(f"{time:.6f} {mean:.9f}", file=self.colvar)
        if what == "update" and self.given.pop("doCheckPoint", 0):
            self.colvar.flush()

    def finalize(self) -> None:
        self.colvar.close()


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("plumed")
    module.Plumed = Plumed  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "plumed", module)


def colvar(folder: Path) -> str:
    return (folder / "plumed-00002" / "COLVAR").read_text()


@pytest.mark.usefixtures("stand_in")
def test_a_bias_is_a_force_like_the_models(tmp_path: Path) -> None:
    """A spring of the bias beside one of the model is as one of the model's own; the model's energy stays its own."""
    atoms = usual.gas(1, "O")
    biased = usual.frames(usual.job(tmp_path / "a", atoms, usual.springs(2.0, atoms), beads=1, plumed=TEXT, steps=200))
    assert [a.info["step"] for a in biased] == list(range(5, 205, 5))
    for frame in biased:
        x = frame.positions[0, 0]
        assert frame.info["bias_energy"] == pytest.approx(0.5 * SPRING * (x - PLACE) ** 2, rel=1e-12)
        assert frame.info["model_energy"] == pytest.approx((frame.positions**2).sum(), rel=1e-12)
    rows = [line.split() for line in colvar(tmp_path / "a").splitlines()]
    assert [float(row[0]) for row in rows] == pytest.approx([0.005 * i for i in range(41)])  # ps
    assert [float(row[1]) for row in rows[1:]] == pytest.approx([a.positions[0, 0] / 10 for a in biased], abs=1e-9)


@pytest.mark.usefixtures("stand_in")
def test_a_bias_on_the_centroids_moves_their_mean(tmp_path: Path) -> None:
    """To where both springs balance, whatever the number of beads, and by no more than a bias should."""
    atoms = usual.gas(1)
    wanted = usual.job(tmp_path, atoms, usual.springs(2.0, atoms), beads=3, plumed=TEXT, temperature=200.0)
    found = usual.frames({**wanted, "steps": 1800, "block": 1800})
    mean, error = usual.mean([a.positions[0, 0] for a in found])
    assert error < 0.03
    assert abs(mean - SPRING * PLACE / (SPRING + 2.0)) < 4 * error
    centroid = np.array([a.positions[0, 0] for a in found]).reshape(-1, 3).mean(axis=1)
    spread, error = usual.mean((centroid - mean) ** 2)
    assert abs(spread - units.kB * 200.0 / (SPRING + 2.0)) < 4 * error  # a centroid is classical in harmonic forces


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize("beads", [1, 4])
def test_its_files_are_cut_back_with_the_walker(tmp_path: Path, beads: int) -> None:
    atoms = usual.gas(2)
    _, whole = usual.run(usual.job(tmp_path / "whole", atoms, usual.springs(2.0, atoms), beads=beads, plumed=TEXT))
    parts = usual.job(tmp_path / "parts", atoms, usual.springs(2.0, atoms), beads=beads, plumed=TEXT, block=10)
    here = Path.cwd()
    engine.advance(parts, usual.CONTEXT)
    with (tmp_path / "parts" / "plumed-00002" / "COLVAR").open("a") as file:
        file.write("0.015 of a step that no checkpoint counts\n")
    (tmp_path / "parts" / "plumed-00002" / "later").write_text("as this file")
    assert usual.run(parts)[1] == whole
    assert colvar(tmp_path / "parts") == colvar(tmp_path / "whole")
    assert not (tmp_path / "parts" / "plumed-00002" / "later").exists()
    assert Path.cwd() == here


@pytest.mark.usefixtures("stand_in")
def test_an_input_that_plumed_does_not_understand(tmp_path: Path) -> None:
    atoms = usual.gas(1)
    with pytest.raises(failures.Fatal, match="cannot understand line: NONSENSE") as caught:
        engine.advance(usual.job(tmp_path, atoms, usual.springs(2.0, atoms), plumed="NONSENSE"), usual.CONTEXT)
    assert "plumed.log" in caught.value.hint


def test_where_plumed_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """First its Python package, then its library."""
    atoms = usual.gas(1)
    wanted = usual.job(tmp_path, atoms, usual.springs(2.0, atoms), plumed=TEXT)
    monkeypatch.setitem(sys.modules, "plumed", None)
    with pytest.raises(failures.Fatal, match="Python package is not installed") as caught:
        engine.advance(wanted, usual.CONTEXT)
    assert (caught.value.exit_code, "pip install plumed" in caught.value.hint) == (78, True)

    def absent(kernel: str | None = None) -> None:
        raise RuntimeError("PLUMED not available, check your PLUMED_KERNEL environment variable")

    module = ModuleType("plumed")
    module.Plumed = absent  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "plumed", module)
    with pytest.raises(failures.Fatal, match="library does not load: PLUMED not available") as caught:
        engine.advance(wanted, usual.CONTEXT)
    assert "libplumedKernel" in caught.value.hint


def test_plumed_itself(tmp_path: Path) -> None:
    """A restraint of PLUMED's on x: energy, force (by where the atom goes) and what is printed."""
    plumed = pytest.importorskip("plumed")
    try:
        plumed.Plumed()
    except Exception as error:
        pytest.skip(f"PLUMED's library does not load: {error}")
    kappa = SPRING * 100.0 * units.mol / units.kJ
    text = TEXT.replace("KAPPA=1", f"KAPPA={kappa:.9f}")
    atoms = usual.gas(1, "O")
    found = usual.frames(usual.job(tmp_path, atoms, usual.springs(2.0, atoms), beads=1, plumed=text, block=15))
    for frame in found:
        x = frame.positions[0, 0]
        assert frame.info["bias_energy"] == pytest.approx(0.5 * SPRING * (x - PLACE) ** 2, rel=1e-6)
    rows = [line.split() for line in colvar(tmp_path).splitlines() if not line.startswith("#")]
    assert [float(row[0]) for row in rows] == pytest.approx([0.005 * i for i in range(9)])
    assert found[-1].positions[0, 0] > 0.05
