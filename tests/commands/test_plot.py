"""psiflow plot: what a file is decides what is drawn, with its numbers, and what cannot be drawn is refused."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from psiflow_cli import toml
from psiflow_cli.errors import PsiflowError
from psiflow_cli.main import main
from psiflow_cli.stages.plot import curves, figures, series

pytest.importorskip("matplotlib", reason="needs matplotlib")

EVALUATED = """2
Lattice="9 0 0 0 9 0 0 0 9" Properties=species:S:1:pos:R:3:REF_forces:R:3:model_forces:R:3 {label} {more} pbc="T T T"
H 0 0 0 0.1 0 0 0.12 0 0
O 0 0 1 -0.1 0 0 -0.1 0 0
"""
STEP = """2
Lattice="9 0 0 0 9 0 0 0 9" Properties=species:S:1:pos:R:3 walker={} step={} time={} temperature={} model_energy=-{}
H 0 0 0
O 0 0 1
"""


def evaluated(count: int = 3) -> str:
    return "".join(
        EVALUATED.format(label=f"REF_energy=-{i + 1}.0", more=f"model_energy=-{i + 1}.02 config_type=kind_{i % 2}")
        for i in range(count)
    )


def steps(walker: str = "0") -> str:
    return "".join(STEP.format(walker, i, 0.5 * i, 300 + i, i) for i in range(9))


def bundle(name: str, members: int = 1) -> None:
    """As much of a bundle as its curves take."""
    path = Path(name)
    epochs = [{"epoch": e, "loss": 1.0 / (e + 1), "valid_loss": 2.0 / (e + 1), "rmse_f_meV_per_A": 90.0 / (e + 1)}
        for e in range(8)]  # fmt: skip
    for index in range(members):
        (path / f"member-{index}").mkdir(parents=True)
    metrics = {f"member-{i}": epochs[5] for i in range(members)}
    (path / "metrics.json").write_text(json.dumps({"metrics": metrics, "curves": [epochs] * members}))
    facts = {"family": "mace", "elements": ["H"], "members": members}
    tables = {
        "configuration": {"swa": True, "start_swa": 4},
        "weights": {f"member-{i}/m.model": "" for i in range(members)},
    }
    (path / "model.toml").write_text(toml.dumps({**facts, **tables}))


def test_every_kind_is_known_by_its_files(psiflow, in_threads):
    Path("data.xyz").write_text(evaluated())
    assert "parity of 3 frames -> data.plot.png" in psiflow("plot", "data.xyz").stderr
    assert Path("data.plot.png").read_bytes()[:4] == b"\x89PNG"
    assert "is up to date" in psiflow("plot", "data.xyz").stderr
    Path("paper.mplstyle").write_text("figure.figsize: 4.0, 3.0\n")
    made = json.loads(psiflow("plot", "data.xyz", "-o", "p.svg", "--style", "paper.mplstyle", "--json").stdout)
    assert (made["kind"], made["frames"]) == ("parity", 3)
    svg = Path("p.svg").read_text()
    assert 'width="288pt"' in svg
    for text in ("RMSE 10 meV/atom", "forces (18 components)", "forces on H", "RMSE 11.5 meV/Å", "kind_1"):
        assert text in svg, "errors are those of the table, in its units"
    Path("paper.mplstyle").write_text("figure.figsize: 5.0, 3.0\n")
    assert "is up to date" not in psiflow("plot", "data.xyz", "-o", "p.svg", "--style", "paper.mplstyle").stderr

    bundle("small.model")
    bundle("large.model", 2)
    psiflow("plot", "small.model", "large.model/metrics.json", "-o", "curves.svg")
    svg = Path("curves.svg").read_text()
    for text in ("small.model: 15", "large.model: 15", "stage two begins", "delivered"):
        assert text in svg

    Path("one.xyz").write_text(steps())
    Path("two.xyz").write_text(steps() + steps("7"))
    assert "series of 27 frames" in psiflow("plot", "one.xyz", "two.xyz", "-o", "md.svg").stderr
    svg = Path("md.svg").read_text()
    for text in ("one.xyz: 0", "two.xyz: 7", "temperature (K)", "time (fs)"):
        assert text in svg


def test_tables_are_series(psiflow, in_threads):
    Path("run.csv").write_text(
        "walker,step,time_fs,temperature_K,note\n" + "".join(f"3,{i},{i},300,\n" for i in range(9))
    )
    psiflow("plot", "run.csv", "-o", "a.svg")
    assert "walker 3" in Path("a.svg").read_text()
    csv = pytest.importorskip("pyarrow.csv", reason="pyarrow is not installed")
    from pyarrow import parquet

    parquet.write_table(csv.read_csv("run.csv"), "run.parquet")
    psiflow("plot", "run.parquet", "-o", "b.svg")
    assert Path("a.svg").read_bytes() == Path("b.svg").read_bytes()


@pytest.fixture
def refused(tmp_path, monkeypatch, threads):
    """Run `psiflow plot` in this process; returns the error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PSIFLOW_SITE", threads)
    Path("frames.xyz").write_text(evaluated())
    Path("bare.xyz").write_text(evaluated().replace("model_", "other_"))
    Path("md.xyz").write_text(steps())
    Path("odd.csv").write_text("time,temperature\n1,2\n")
    Path("bad.csv").write_text("walker,time_fs,temperature_K\n0,1,300\n0,x,300\n")
    Path("other.json").write_text("{}")
    Path("empty").mkdir()
    bundle("m.model")

    def run(*arguments):
        error = CliRunner().invoke(main, ["plot", *arguments], standalone_mode=False)
        return error

    return run


@pytest.mark.parametrize(
    ("arguments", "code", "what"),
    [
        (("bare.xyz",), 65, "bare.xyz: no frame has predictions beside labels, nor the time"),
        (("md.xyz", "--kind", "parity"), 65, "md.xyz: no frame has predictions beside labels"),
        (("frames.xyz", "--kind", "series"), 65, "frames.xyz: no frame has the time and temperature"),
        (("frames.xyz", "--kind", "learning-curve"), 2, "--kind learning-curve: frames.xyz has no data for it"),
        (("m.model", "--kind", "parity"), 2, "--kind parity: m.model has no data for it"),
        (("m.model", "frames.xyz"), 2, "m.model and frames.xyz cannot be drawn in one figure"),
        (("empty",), 66, "empty: it contains no metrics.json"),
        (("none.xyz",), 66, "none.xyz: no such file"),
        (("other.json",), 65, "other.json: not the metrics.json of a model bundle"),
        (("odd.csv",), 65, "odd.csv:1: no column time_fs"),
        (("bad.csv",), 65, "bad.csv:3: time_fs: 'x' is not a number"),
        (("frames.xyz", "--style", "no.mplstyle"), 66, "no.mplstyle: no such file"),
        (("frames.xyz", "-o", "x.txt"), 2, "x.txt"),
        (("frames.xyz", "-o", "-"), 2, "-"),
        (("-",), 2, "a figure cannot go to stdout"),
        (("frames.xyz", "--keys", "energy=E"), 65, "frames.xyz:1: frame 1: no key 'E'"),
        (("frames.xyz", "-o", "frames.xyz"), 2, "frames.xyz"),
    ],
)
def test_what_cannot_be_drawn_is_refused(refused, capfd, arguments, code, what):
    done = refused(*arguments)
    assert done.exit_code == code
    said = done.output + capfd.readouterr().err
    assert what in said
    assert len(said.strip().splitlines()) <= 2
    assert not list(Path().glob("*.png*")), "no run began"


def test_curves_know_their_stages_without_a_model_beside_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bundle("a.model")
    (curve,) = curves.read(["a.model/metrics.json"])
    assert (curve["delivered"], curve["stage_two"]) == (5, 4)
    shutil.copy("a.model/metrics.json", "copy.json")
    (curve,) = curves.read(["copy.json"])
    assert (curve["delivered"], curve.get("stage_two")) == (5, None)
    with pytest.raises(PsiflowError):
        curves.read(["nothing.json"])


def test_the_users_settings_of_matplotlib_apply(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MATPLOTLIBRC", raising=False)
    assert figures.sheets(["ggplot"]) == ["ggplot"]
    Path("elsewhere").mkdir()
    Path("elsewhere/matplotlibrc").write_text("font.size: 8\n")
    monkeypatch.setenv("MATPLOTLIBRC", "elsewhere")
    assert figures.sheets() == [str(tmp_path / "elsewhere/matplotlibrc")]
    Path("matplotlibrc").write_text("font.size: 9\n")
    Path("paper.mplstyle").write_text("font.size: 7\n")
    assert figures.sheets(["paper.mplstyle"]) == [str(tmp_path / "matplotlibrc"), str(tmp_path / "paper.mplstyle")]


@pytest.mark.parametrize(
    ("targets", "shown"),
    [
        ([300.0] * 4, [300.0, 300.0]),
        ([300.0, 310.0, 320.0, 330.0], [300.0, 330.0]),
        ([300.0, 300.0, 400.0], [300.0, 300.0]),
        ([300.0, 400.0, 400.0], [300.0, 300.0]),
        ([400.0, 300.0, 400.0, 500.0], [400.0, 400.0]),
        ([math.nan, math.nan], None),
    ],
)
def test_only_a_ramp_is_drawn_as_one(tmp_path, targets, shown):
    """A walker that exchanges its temperature jumps between the temperatures of all."""
    walkers = series.Walkers(1)
    rows = [{"time_fs": float(step), "target_temperature_K": target} for step, target in enumerate(targets)]
    walkers.write([("a.xyz", "0", ("H",), row) for row in rows], tmp_path / "table.csv")
    assert walkers.shown()["walkers"][0]["target"] == shown
