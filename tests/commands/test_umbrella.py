"""Umbrella windows that exchange, and metadynamics, with PLUMED itself: both give a double well's exact profile."""

from __future__ import annotations

import csv
import itertools
import json
import math
from pathlib import Path

import pytest

np = pytest.importorskip("numpy")
pytest.importorskip("torch_sim", reason="torch-sim is not installed")
pytest.importorskip("pymbar", reason="needs pymbar, the extra free-energy")

from tests.samplers import double_well as well  # noqa: E402
from tests.samplers.plumed_systems import needs_kernel  # noqa: E402

KT = 8.617333262e-5 * 300.0
FRAME = '1\nProperties=species:S:1:pos:R:3 pbc="F F F"\nC {} 5.0 5.0\n'
HEAD = "UNITS LENGTH=A ENERGY=eV\np: POSITION ATOM=1 NOPBC\n"
KAPPAS, CENTRES, ACROSS = (1.5, 3.0), [3.9 + 0.2 * n for n in range(12)], (4.9, 5.1)
MODEL = ("--model", "./mine.py", "--engine", "torchsim", "--timestep", 4, "--friction", 20, "--every", 10)


def energy(x):
    return well.BARRIER * ((x - 5.0) ** 2 / well.HALF**2 - 1.0) ** 2


def acceptance(low, high):
    """Of an exchange of two neighbouring windows along x: min(1, exp(w)) over both distributions, on a grid."""
    x = np.linspace(2.5, 7.5, 1001)
    bias = [0.5 * KAPPAS[0] * (x - at) ** 2 / KT for at in (low, high)]
    p, q = (np.exp(-energy(x) / KT - each) for each in bias)
    w = (bias[0] - bias[1])[:, None] - (bias[0] - bias[1])[None, :]
    return float(p @ np.exp(np.minimum(w, 0.0)) @ q / (p.sum() * q.sum()))


def rows(name):
    with open(name) as stream:
        return np.array([[float(value) for value in row] for row in list(csv.reader(stream))[1:]]).T


@needs_kernel
@pytest.mark.parametrize("steps", [400, pytest.param(4_000, marks=[pytest.mark.full, pytest.mark.timeout(3600)])])
def test_windows_and_metadynamics_have_the_exact_profile(psiflow, in_threads, steps):
    """Within the printed errors; windows are exchanged along two axes as often as theory says."""
    Path("mine.py").write_text(Path(well.__file__).read_text())
    Path("start.xyz").write_text(FRAME.format(4.0))
    Path("starts.xyz").write_text("".join(FRAME.format(at) for at in CENTRES))
    kappas = ",".join(map(str, KAPPAS))
    Path("w.dat").write_text(f"{HEAD}r: RESTRAINT ARG=p.x,p.y AT=@X@,@Y@ KAPPA={kappas}\n")
    Path("m.dat").write_text(f"{HEAD}m: METAD ARG=p.x SIGMA=0.15 HEIGHT=0.01 PACE=25 BIASFACTOR=8 TEMP=300\n")
    long = {"timeout": 3000}
    varied = ("--vary", f"X={CENTRES[0]}:{CENTRES[-1]}:{len(CENTRES)}", "--vary", "Y=4.9,5.1", "--exchange", 20)
    said = psiflow("sample", "start.xyz", *MODEL, "--plumed", "w.dat", *varied, "--nearest", "starts.xyz",
                   "--steps", steps, "-o", "w.xyz", "--json", **long)  # fmt: skip
    pairs = json.loads(said.stdout)["exchanges"]
    assert sorted(pair["between"] for pair in pairs if pair["axis"] == "X") == [
        pytest.approx(pair) for pair in itertools.pairwise(CENTRES)
    ]
    score = {"X": [0.0, 0.0], "Y": [0.0, 0.0]}
    for pair in pairs:
        stiff = (KAPPAS[1] * (ACROSS[1] - ACROSS[0])) ** 2 / ((well.SPRING + KAPPAS[1]) * KT)
        wanted = acceptance(*pair["between"]) if pair["axis"] == "X" else math.erfc(math.sqrt(stiff) / 2.0)
        print(f"{pair['axis']} {pair['between']}: {pair['rate']:.4f} of {pair['tried']}, theory {wanted:.4f}")
        variance = pair["tried"] * wanted * (1.0 - wanted)
        assert abs(pair["accepted"] - pair["tried"] * wanted) < 5.0 * variance**0.5
        score[pair["axis"]][0] += pair["accepted"] - pair["tried"] * wanted
        score[pair["axis"]][1] += variance
    assert all(abs(away) < 4.0 * variance**0.5 for away, variance in score.values())
    grid = ("--cv", "p.x", "--temperature", 300)
    psiflow("free-energy", "w.xyz", *grid, "--range", "4:6", "--bins", 20, "--by", "mbar", "--windows", "X,Y",
            "--restrained", "p.x,p.y", "-o", "w.csv")  # fmt: skip
    psiflow("sample", "start.xyz", *MODEL, "--plumed", "m.dat", "--walkers", 4, "--share-bias", "--steps", 6 * steps,
            "-o", "m.xyz", **long)  # fmt: skip
    psiflow("free-energy", "m.hills", *grid, "--range", "4.05:5.95", "--bins", 19, "-o", "m.csv")
    (x, free, error), (y, other, another) = rows("w.csv"), rows("m.csv")
    assert x == pytest.approx(y)
    edges = np.linspace(4.0, 6.0, 2001)
    exact = -KT * np.log(np.exp(-energy(edges[:-1] + 0.0005) / KT).reshape(20, 100).sum(axis=1))
    lowest, own = int(free.argmin()), int(other.argmin())
    of_windows = (free - exact + exact[lowest]) / np.maximum(error, 1e-9)
    of_hills = (other - exact + exact[own]) / np.maximum(another, 1e-9)
    both = (free - other + other[lowest]) / np.maximum(np.hypot(error, another) + another[lowest], 1e-9)
    print(f"errors to {error.max():.4f} and {another.max():.4f} eV; scores to {abs(of_windows).max():.1f} (MBAR), "
          f"{abs(of_hills).max():.1f} (METAD), {abs(both).max():.1f} (one against the other)")  # fmt: skip
    assert error.max() < (0.05 if steps < 1000 else 0.008)
    assert another.max() < (0.06 if steps < 1000 else 0.02)
    for scores in (of_windows, of_hills, both):
        assert np.abs(scores).max() < 4.0
