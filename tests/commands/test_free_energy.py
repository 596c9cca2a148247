"""psiflow free-energy: files of PLUMED, tables and frames give the exact profile, and what is wrong is told."""

from __future__ import annotations

import csv
import itertools
import json
import math
import random
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from psiflow_cli.main import main

pytest.importorskip("numpy", reason="needs NumPy")

KB = 0.0083144621  # kJ/mol/K
KJ = 0.010364269574711574  # eV
WELL, KAPPA = 20.0, 60.0  # kJ/mol per CV²
CENTRES = (0.4, 0.7, 1.0, 1.3, 1.6)
FRAME = """1
Lattice="9 0 0 0 9 0 0 0 9" Properties=species:S:1:pos:R:3 walker={} time={} target_temperature={} AT={} {} pbc="T T T"
H 0 0 0
"""


def drawn(at, kappa=KAPPA, kelvin=300.0, count=400, seed=0):
    """Samples of the well ½ WELL (s - 1)² under a restraint, and its bias in kJ/mol."""
    rng = random.Random(f"{seed} {at} {kelvin}")
    stiff = WELL + kappa
    for _ in range(count):
        s = round(rng.gauss((WELL + kappa * at) / stiff, math.sqrt(KB * kelvin / stiff)), 6)
        yield s, 0.5 * kappa * (s - at) ** 2


def colvar(name, samples, unit=1.0):
    lines = (f" {time:.6f} {s:.6f} {bias * unit:.9f}\n" for time, (s, bias) in enumerate(samples))
    Path(name).write_text("#! FIELDS time d1 restraint.bias\n" + "".join(lines))


def profile(name):
    with open(name) as stream:
        return [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(stream)]


def right(rows, kelvin=300.0, most=4.0):
    """Whether a profile with bins of 0.1 from 0.5 to 1.5 is that of the well, within its errors."""
    width = math.sqrt(KB * kelvin / WELL)
    edges = [0.5 * math.erf((0.1 * n - 0.5) / width / math.sqrt(2)) for n in range(11)]
    exact = [-KB * kelvin * KJ * math.log(b - a) for a, b in itertools.pairwise(edges)]
    lowest = next(n for n, row in enumerate(rows) if row["free_energy_eV"] == 0)
    scores = [(row["free_energy_eV"] - value + exact[lowest]) / row["error_eV"]
              for row, value in zip(rows, exact, strict=True) if row["error_eV"]]  # fmt: skip
    return len(rows) == 10 and max(map(abs, scores)) < most


GRID = ("--cv", "d1", "--bins", "10", "--range", "0.5:1.5")


def test_windows_of_plumed_whose_restraints_follow_from_the_bias(psiflow, in_threads):
    pytest.importorskip("pymbar", reason="needs pymbar, the extra free-energy")
    for number, at in enumerate(CENTRES):
        colvar(f"w{number}.colvar", drawn(at))
        colvar(f"e{number}.colvar", drawn(at), KJ)
    files = [f"w{number}.colvar" for number in range(5)]
    words = (*GRID, "--by", "mbar", "--temperature", "300", "--convergence", "time.csv", "--plot", "d1.svg")
    done = json.loads(psiflow("free-energy", *files, *words, "--json", "-o", "d1.csv").stdout)
    assert right(profile("d1.csv"))
    result = done["free_energy"]
    assert [row["at"][0] for row in result["windows"]] == pytest.approx(CENTRES, abs=1e-4)
    assert [row["kappa"][0] for row in result["windows"]] == pytest.approx([KAPPA * KJ] * 5, rel=1e-3)
    assert len(profile("time.csv")) == 100
    assert not result["weak_links"]
    assert "free energy (eV)" in Path("d1.svg").read_text()
    shown = psiflow("free-energy", *files, *words, "-o", "d1.csv")
    assert "is up to date" in shown.stderr
    assert "w4.colvar" in shown.stdout
    # the same energies in eV, and given centres
    others = [name.replace("w", "e") for name in files]
    more = ("--energy-unit", "eV", "--at", ",".join(map(str, CENTRES)), "--kappa", str(KAPPA * KJ))
    psiflow("free-energy", *others, *GRID, "--by", "mbar", "--temperature", "300", *more, "-o", "e1.csv")
    for one, other in zip(profile("d1.csv"), profile("e1.csv"), strict=True):
        assert one["free_energy_eV"] == pytest.approx(other["free_energy_eV"], abs=1e-5)
    more = (*more[:-1], str(KAPPA))
    wrong = psiflow("free-energy", *others, *GRID, "--by", "mbar", "--temperature", "300", *more, "-o", "f.csv",
                    code=65)  # fmt: skip
    assert "eV was recorded" in wrong.stderr
    gap = psiflow("free-energy", "w0.colvar", "w4.colvar", *GRID, "--by", "mbar", "--temperature", "100", "-o", "g.csv")
    assert "the overlap of w0.colvar with w4.colvar" in gap.stderr


def test_windows_and_temperatures_in_one_trajectory(psiflow, in_threads):
    """Walkers that exchange temperatures; the profile of one that none was sampled at, and that of windows."""
    pytest.importorskip("pymbar", reason="needs pymbar, the extra free-energy")
    paths = [[(kelvin, s) for s, _ in drawn(0, 0.0, kelvin)] for kelvin in (200, 400)]
    text = ""
    for walker in (0, 1):
        for time in range(400):
            kelvin, s = paths[(walker + time // 50) % 2][time]
            energy = f"plumed_d1={s} model_energy={0.5 * WELL * KJ * (s - 1) ** 2 - 1000}"
            text += FRAME.format(walker, time, float(kelvin), 0, energy)
    Path("hot.xyz").write_text(text)
    psiflow("free-energy", "hot.xyz", *GRID, "--by", "mbar", "--temperature", "300", "-o", "hot.csv")
    assert right(profile("hot.csv"))
    text = "walker,time_fs,target_temperature_K,AT,d1,bias\n"
    text += "".join(f"{number},{time},300,{at},{s},{bias}\n" for number, at in enumerate(CENTRES)
                    for time, (s, bias) in enumerate(drawn(at)))  # fmt: skip
    Path("md.csv").write_text(text)
    done = psiflow("free-energy", "md.csv", *GRID, "--windows", "AT", "--bias", "bias", "-o", "windows.csv")
    assert right(profile("windows.csv"))
    assert "AT=1.6" in done.stdout


def test_reweighting_and_basins(psiflow, in_threads):
    colvar("COLVAR", drawn(0.8, KAPPA / 4, count=4000))
    words = ("--by", "reweight", "--temperature", "300", "--basins", "A=0:1,B=1:2", "-o", "w.csv", "--json")
    done = json.loads(psiflow("free-energy", "COLVAR", *GRID, *words).stdout)
    assert right(profile("w.csv"))
    second = done["free_energy"]["basins"][1]
    assert abs(second["free_energy"]) < 4 * second["error"]


@pytest.mark.parametrize(("basins", "named"), [("A=0:1,B=7:8,C=1:2", ["B"]), ("A=7:8,B=0:1", ["A"])])
def test_a_basin_that_was_not_visited_is_named(psiflow, in_threads, basins, named):
    colvar("COLVAR", drawn(0.8, KAPPA / 4, count=400))
    words = ("--by", "reweight", "--temperature", "300", "--basins", basins, "-o", "w.csv")
    said = psiflow("free-energy", "COLVAR", *GRID, *words).stderr
    assert re.findall(r"warning: --basins (\w): no sample or point of the grid lies in it", said) == named


HILLS = """#! FIELDS time phi sigma_phi height biasf
#! SET multivariate false
#! SET kerneltype stretched-gaussian
#! SET min_phi -pi
#! SET max_phi pi
 1 -1.0 0.35 1.2 8
 2 1.0 0.35 0.6 8
"""


def test_hills(psiflow, in_threads):
    Path("HILLS").write_text(HILLS)
    words = ("--bins", "20", "--temperature", "300", "--basins", "A=-2:0,B=0:2", "--convergence", "c.csv", "--json")
    done = json.loads(psiflow("free-energy", "HILLS", *words).stdout)["free_energy"]
    rows = profile("HILLS.free-energy.csv")
    assert max(row["free_energy_eV"] for row in rows) == pytest.approx(1.2 * KJ, rel=0.03), "kJ/mol, not scaled again"
    assert len(rows) == 20
    assert done["basins"][1]["free_energy"] > 0
    assert done["convergence"][4]["basins"][1] > done["basins"][1]["free_energy"]


def test_a_recorded_bias_shows_its_unit(psiflow):
    """A table of psiflow has the only bias of PLUMED in PLUMED's unit, and in eV."""
    rows = "".join(f"{time},{1 + 0.01 * time},{0.02 * time},{0.02 * time}\n" for time in range(10))
    Path("table.csv").write_text(f"time_fs,d,plumed_m.bias,bias_energy\n{rows}")
    words = ("free-energy", "table.csv", "--by", "reweight", "--cv", "d", "--temperature", "300", "--blocks", "2")
    wrong = psiflow(*words, "--bias", "m.bias", "-o", "x.csv", code=65).stderr
    assert "table.csv: plumed_m.bias is 0.18 where bias_energy is 0.18 eV, so its unit is not 0.01036 eV" in wrong
    psiflow(*words, "--bias", "m.bias", "--energy-unit", "eV", "-o", "one.csv")
    psiflow(*words, "-o", "two.csv")
    assert profile("one.csv") == profile("two.csv")


def test_reweighting_needs_the_hills_that_the_samples_have_felt(psiflow):
    """Times are compared in one unit; a bias that is not the sum of the hills before is that of another run."""
    times, at = (5, 15, 25), (1.0, 1.0, 1.05)
    height, edge = 0.2, math.exp(-6.25)
    near = [(math.exp(-0.5 * ((s - 1.0) / 0.1) ** 2) - edge) / (1 - edge) * height for s in at]
    felt = [count * bias for count, bias in zip((0, 1, 2), near, strict=True)]
    unit = "#! SET energy_unit_eV 1\n#! SET time_unit_ps 0.001\n"
    Path("hills").write_text(f"#! FIELDS time d sigma_d height biasf\n{unit} 10 1 0.1 0.2 1\n 20 1 0.1 0.2 1\n")
    rows = [f"{time} {s} {bias}\n" for time, s, bias in zip(times, at, felt, strict=True)]
    Path("colvar").write_text(f"#! FIELDS time d m.bias\n{unit}" + "".join(rows))
    Path("table.csv").write_text("time_fs,d,m.bias\n" + "".join(rows).replace(" ", ","))
    words = ("--by", "reweight", "--hills", "hills", "--cv", "d", "--bias", "m.bias", "--temperature", "300")
    words += ("--energy-unit", "eV")
    more = ("--range", "0.9:1.1", "--bins", "2", "--blocks", "3")
    for file in ("colvar", "table.csv"):
        psiflow("free-energy", file, *words, *more, "-o", f"{file}.profile.csv")
    assert profile("colvar.profile.csv") == profile("table.csv.profile.csv")
    Path("other.csv").write_text("time_fs,d,m.bias\n" + "".join(rows).replace(" ", ",").replace(f",{felt[1]}", ",0.4"))
    Path("late.csv").write_text("time_fs,d,m.bias\n" + "".join(rows).replace(" ", ",").replace("5,", "500,"))
    for file in ("other.csv", "late.csv"):
        done = psiflow("free-energy", file, *words, "-o", "x.csv", code=65)
        assert f"{file}: the recorded bias differs by 0." in done.stderr
        assert "of the hills of hills before the same times" in done.stderr


@pytest.mark.parametrize(
    ("files", "words", "code", "told"),
    [
        (["COLVAR"], ["--cv", "d1"], 2, "--by mbar or --by reweight"),
        (["COLVAR"], ["--cv", "d2", "--by", "reweight", "--temperature", "300"], 65, "COLVAR:1: no column d2"),
        (["COLVAR"], ["--by", "reweight"], 2, "missing option --cv"),
        (["COLVAR"], ["--cv", "d1,d1", "--by", "reweight"], 2, "twice"),
        (["COLVAR"], ["--cv", "d1", "--by", "reweight"], 2, "COLVAR: the temperature of the sampling"),
        (["COLVAR"], ["--cv", "d1", "--by", "hills"], 2, "COLVAR has no hills"),
        (
            ["COLVAR"],
            ["--cv", "d1", "--by", "mbar", "--bias", "none", "--temperature", "9"],
            2,
            "the windows are not known",
        ),
        (["COLVAR", "HILLS"], ["--cv", "d1"], 2, "HILLS contains hills, but COLVAR contains samples"),
        (["HILLS", "OTHER"], [], 65, "OTHER:1: max_phi"),
        (["KERNELS"], [], 65, "KERNELS:1: Gaussians without biasf: these are kernels of OPES"),
        (["HILLS"], ["--basins", "A=0:1"], 2, "--temperature"),
        (["HILLS"], ["--discard", "20%"], 2, "--discard cannot be used with hills"),
        (["HILLS"], ["--convergence", "x.parquet"], 2, "name may end in .csv"),
        (["NAN"], ["--cv", "d1", "--by", "reweight", "--temperature", "300"], 65, "NAN:3: d1 is 'nan'"),
        (["SHORT"], ["--cv", "d1", "--by", "reweight", "--temperature", "300"], 65, "SHORT:3: 2 numbers for 3 fields"),
        (["BACK"], ["--cv", "d1", "--by", "reweight", "--temperature", "300"], 65, "BACK:5: the time goes back from 2"),
        (["MIXED"], ["--cv", "d1", "--by", "reweight", "--temperature", "300"], 65, "MIXED:4: FIELDS differ"),
        (["EMPTY"], ["--cv", "d1", "--by", "mbar"], 65, "EMPTY:1: not a PLUMED file"),
        (["UNIT"], ["--cv", "d1", "--by", "reweight", "--temperature", "300"], 65, "UNIT:1: time_unit_ps is '0'"),
        (["-"], ["--cv", "d1"], 2, "stdin"),
    ],
)
def test_what_is_wrong_is_told(tmp_path, monkeypatch, threads, files, words, code, told):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PSIFLOW_SITE", threads)
    head, rows = "#! FIELDS time d1 r.bias\n", [f" {time} {time}.5 0\n" for time in range(3)]
    Path("COLVAR").write_text(head + "".join(rows))
    Path("HILLS").write_text(HILLS)
    Path("OTHER").write_text(HILLS.replace("#! SET max_phi pi", "#! SET max_phi 3"))
    Path("KERNELS").write_text(HILLS.replace(" biasf", " logweight"))
    Path("NAN").write_text(f"{head}{rows[0]} 1 nan 0\n{rows[2]}")
    Path("SHORT").write_text(f"{head}{rows[0]} 1 1\n{rows[2]}")
    Path("BACK").write_text(head + "".join([*rows, rows[1]]))
    Path("MIXED").write_text(f"{head}{rows[0]}{rows[1]}{head.replace('d1', 'd2')}{rows[2]}")
    Path("EMPTY").write_text("")
    Path("UNIT").write_text(head + "#! SET time_unit_ps 0\n" + "".join(rows))
    done = CliRunner().invoke(main, ["free-energy", *files, *words, "-o", "x.csv"], standalone_mode=False)
    assert done.exit_code == code, done.output
    assert told in done.output
    assert not Path("x.csv.run").exists()


def test_a_restart_counts_once(tmp_path):
    """What a restart computed again is left out; a clock that began anew is another part of the same run."""
    from psiflow_cli.stages.free_energy import source

    head, path = "#! FIELDS time d1\n", tmp_path / "COLVAR"

    def values(*parts):
        path.write_text("".join(head + "".join(f" {time} {s}\n" for time, s in part) for part in parts))
        header = source.of_plumed(str(path))
        assert header is not None
        return list(source.read_plumed(header, ["d1"])["d1"])

    assert values([(0, 1), (1, 2), (2, 3)], [(1, 4), (2, 5)]) == [1, 4, 5]
    assert values([(0, 1), (1, 2)], [(1, 2), (2, 3)]) == [1, 2, 3]
    assert values([(0, 1), (1, 2)], [(0, 3), (1, 4)]) == [1, 2, 3, 4]


def test_pressures(psiflow, in_threads):
    """An ideal gas of one particle and a volume that a CV measures: p(V) ∝ V exp(-PV/kT) at each pressure."""
    pytest.importorskip("pymbar", reason="needs pymbar, the extra free-energy")
    kT, bar = 300 * 8.617330337217213e-05, 6.241509125883258e-07
    text, rng = (
        "walker,time_fs,target_temperature_K,target_pressure_bar,model_energy_eV,volume_A3,v\n",
        random.Random(0),
    )
    for walker, pressure in enumerate((400.0, 800.0)):
        for time in range(1000):
            volume = rng.gammavariate(2, kT / (pressure * bar))
            text += f"{walker},{time},300,{pressure},0,{volume},{volume}\n"
    Path("gas.csv").write_text(text)
    words = ("--by", "mbar", "--cv", "v", "--basins", "A=0:100,B=100:300", "--pressure", "600", "-o", "v.csv", "--json")
    basin = json.loads(psiflow("free-energy", "gas.csv", *words).stdout)["free_energy"]["basins"][1]

    def below(volume):
        x = volume * 600 * bar / kT
        return 1 - (1 + x) * math.exp(-x)

    exact = -kT * math.log((below(300) - below(100)) / below(100))
    assert abs(basin["free_energy"] - exact) < 4 * basin["error"]
    Path("gas.csv").write_text(text.replace("target_pressure_bar", "p").replace("0,300,4", "0,310,4"))
    told = psiflow("free-energy", "gas.csv", "--by", "mbar", "--cv", "v", "-o", "w.csv", code=2).stderr
    assert "the volume changes" in told


def test_walkers_in_one_file_and_the_unit_that_sample_wrote(psiflow):
    """Each has its own bias, or all fill one; the files of `sample` say their unit."""
    head = "#! FIELDS time d1 sigma_d1 height biasf\n#! SET walker {}\n#! SET energy_unit_eV 1\n"
    rows = "{t} {s} 0.1 0.01 1\n"
    hills = "".join(head.format(w) + "".join(rows.format(t=t, s=1.0 + w) for t in (1, 2)) for w in (0, 1))
    Path("own.hills").write_text(hills)
    psiflow("free-energy", "own.hills", "--bins", "22", "--range", "0.7:2.3", "--temperature", "300", "-o", "mean.csv")
    mean = [row["free_energy_eV"] for row in profile("mean.csv")]
    assert mean == pytest.approx(mean[::-1], abs=1e-9), "of both walkers, each of which has filled one half"
    assert max(mean) == pytest.approx(0.01, rel=1e-2)
    done = psiflow("free-energy", "own.hills", "own.hills", "--temperature", "300", "-o", "x.csv", code=2)
    assert "2 walkers, each with its own bias" in done.stderr
    psiflow("free-energy", "own.hills", "--temperature", "300", "--walker", "1", "-o", "one.csv")
    rows_of_one = profile("one.csv")
    lowest = min(rows_of_one, key=lambda row: row["free_energy_eV"])
    assert lowest["d1"] == pytest.approx(2.0, abs=0.01)
    assert max(row["free_energy_eV"] for row in rows_of_one) == pytest.approx(0.02, rel=1e-2)
    shared = hills.replace("biasf\n", "biasf clock\n").replace(" 0.01 1\n", " 0.01 1 0\n")
    Path("shared.hills").write_text(shared)
    psiflow("free-energy", "shared.hills", "--temperature", "300", "-o", "both.csv")
    assert {round(row["d1"], 1) for row in profile("both.csv") if row["free_energy_eV"] < 1e-3} >= {1.0, 2.0}
    words = ("--temperature", "300", "--walker", "1", "--energy-unit", "kJ/mol", "-o", "x.csv")
    assert "units of 1 eV" in psiflow("free-energy", "own.hills", *words, code=65).stderr
