"""psiflow report: what is on the page is what the runs say, nothing comes from elsewhere, and text stays text."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path

import pytest

from psiflow_cli.stages.runs import report_dynamics
from tests import warm
from tests.commands import springs

pytest.importorskip("ase", reason="needs ase")
pytest.importorskip("matplotlib", reason="needs matplotlib")

DRAWING = ("matplotlib.pyplot", "ase.visualize.plot", *(("chemiscope",) if find_spec("chemiscope") else ()))
NASTY = "<script>alert('x')</script>&amp;"
FRAME = """3
Lattice="2 0 0 0 2 0 0 0 2" Properties=species:S:1:pos:R:3:forces:R:3 energy=0 config_type="{}" pbc="T T T"
O {} 0.0 0.0 0.0 0.0 0.0
H 0.96 0.0 0.0 0.0 0.0 0.0
H -0.24 0.93 0.0 0.0 0.0 0.0
"""


class Page(HTMLParser):
    """The cells of all tables, row by row, by the heading above, and whatever is loaded from somewhere."""

    def __init__(self, path):
        super().__init__()
        self.tables, self.loaded, self.scripts, self.images = {}, [], 0, 0
        self._heading, self._row, self._in = "", None, ""
        self.text = Path(path).read_text()
        self.feed(self.text)

    def handle_starttag(self, tag, attrs):
        self._in = tag
        self.loaded += [value[:30] for key, value in attrs if key in ("src", "href", "data", "srcset")]
        self.scripts += tag == "script"
        self.images += tag == "img"
        if tag == "h2":
            self._heading = ""
        if tag == "tr":
            self._row = []
            self.tables.setdefault(self._heading, []).append(self._row)
        if tag in ("td", "th"):
            self._row.append("")

    def handle_endtag(self, tag):
        self._in = "" if tag == self._in else self._in
        if tag == "tr":
            self._row = None

    def handle_data(self, data):
        if self._in == "h2":
            self._heading += data
        elif self._row:
            self._row[-1] += data


def psiflow(*arguments, code=0):
    words = [springs.__file__, *map(str, arguments)]
    words += ["--site", "threads.toml"] if arguments[0] != "clean" else []
    done = warm.server(*DRAWING).run(words)
    assert done.returncode == code, f"exit {done.returncode}, not {code}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture
def learned(once, tmp_path, monkeypatch):
    """A folder with the errors of two models on the same frames, and a labelling that failed."""
    shutil.copytree(once("reported", _learn) / "moved", tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PSIFLOW_SITE", raising=False)
    return Path("loop")


def _learn(folder):
    (folder / "first").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder / "first")
        patch.delenv("PSIFLOW_SITE", raising=False)
        Path("threads.toml").write_text(springs.SITE)
        Path("test.xyz").write_text("".join(FRAME.format(NASTY if i == 13 else "", i / 100) for i in range(15)))
        for k, strength in ((2, 2.0), (10, 1.0)):
            round_k = Path("loop", f"round-{k}")
            round_k.mkdir(parents=True)
            springs.bundle(round_k / "one.model", strength)
            psiflow(
                "evaluate", "test.xyz", "--model", round_k / "one.model",
                "-o", round_k / "e.xyz", "--plot", round_k / "parity.png",
            )  # fmt: skip
        slow = Path(__file__).with_name("slow_reference.py")
        Path("bad.xyz").write_text(FRAME.format("", 102))
        psiflow("label", "bad.xyz", "--reference", slow, "-o", "loop/labels.xyz", code=1)
        md = ("--model", "loop/round-2/one.model", "--engine", "ase", "--thermostat", "langevin", "--steps", "20")
        nve, two = (
            ("--ensemble", "nve", "--every", "1"),
            ("--temperature", "300,400", "--every", "5", "--exchange", "5"),
        )
        Path("start.xyz").write_text(springs.START)
        psiflow("sample", "start.xyz", *md, *nve, "-o", "loop/md.xyz")
        psiflow("sample", "start.xyz", *md, *two, "-o", "loop/replicas.xyz")
    (folder / "first").rename(folder / "moved")  # so that no copy finds the first one's files under their old names


def errors(folder):
    rows = json.loads((folder / "e.xyz.run" / "run.json").read_text())["result"]["summary"]["errors"]
    return {row["quantity"]: row for row in rows if row["by"] == "all"}


def test_the_page_says_what_the_runs_say(learned):
    psiflow("report", "loop")
    page = Page("loop/report.html")
    table = page.tables["Errors"]
    assert [row[:2] for row in table[1:]] == [["round-2/e.xyz", "15"], ["round-10/e.xyz", "15"]]
    for row, k in zip(table[1:], (2, 10), strict=True):
        found = errors(learned / f"round-{k}")
        assert row[2:6] == [f"{found[q][e]:.2f}" for q in ("energy", "forces") for e in ("rmse", "mae")]
    assert page.tables["Failures"][1][:3] == ["labels.xyz", "crashed", "1"]
    states = {row[0]: row[1:4] for row in page.tables["Runs"][1:]}
    assert states == {
        "labels.xyz": ["label", "partial", "1/1"],
        "md.xyz": ["sample", "done", "20/20"],
        "replicas.xyz": ["sample", "done", "40/40"],
        "round-2/e.xyz": ["evaluate", "done", "15/15"],
        "round-10/e.xyz": ["evaluate", "done", "15/15"],
    }
    # a spring of 1 eV/Å² pulls the first atom by its shift, 0.14 Å in the last frame, and nothing else
    wrong = page.tables["Largest errors of the model"][1:]
    assert [row[1:5] for row in wrong[:2]] == [["140", "15", "71", "3"], ["130", "14", "66", "3"]]
    assert len(wrong) == 10
    assert page.images == 6, "two parity plots, the errors of both, the worst frames, and two samplings"
    dynamics = page.tables["Dynamics"][1]
    assert dynamics[:4] == ["md.xyz", "nve", "ase", "1"]
    assert abs(float(dynamics[4])) < 50, "meV per atom and ps, of a spring"
    assert dynamics[5:7] == ["walker 0", "16"]
    assert [row[5] for row in page.tables["Dynamics"][2:]] == ["start 0, 300 K", "start 0, 400 K"]
    [rate] = json.loads(Path("loop/replicas.xyz.run/run.json").read_text())["result"]["summary"]["exchanges"]
    shown = [f"{rate['accepted'] / rate['tried']:.0%}", str(rate["accepted"]), str(rate["tried"])]
    assert page.tables["Accepted exchanges"][1:] == [["replicas.xyz", "temperature 300 <-> 400 K", *shown]]
    assert page.tables["Data"][1][0] == "bad.xyz"
    assert [row[-1] for row in page.tables["Data"][1:] if row[0] == "test.xyz"] == ["round-2/e.xyz, round-10/e.xyz"]


def test_a_copied_folder_shows_its_own_files(learned):
    shutil.copytree("loop", "copy")
    edited = Path("copy/round-10/e.xyz")
    edited.write_text("".join(edited.read_text().splitlines(True)[:10]))
    psiflow("report", "copy")
    page = Page("copy/report.html")
    assert sorted(row[2] for row in page.tables["Largest errors of the model"][1:]) == ["1", "2"]
    assert "<code>round-10/e.xyz</code>" in page.text


@pytest.mark.parametrize("walkers", [1, 3])
def test_the_drift_is_the_slope_of_the_total_energy(walkers):
    numpy = pytest.importorskip("numpy")
    drift, random = report_dynamics.Drift(), numpy.random.default_rng(1)
    slopes = []
    for walker in range(walkers):
        times = numpy.linspace(0, 5, 40)
        energies = -1e7 + 2 * walker * times + random.normal(size=40)
        slopes.append(numpy.polyfit(times, energies + 1e7, 1)[0])
        for time, energy in zip(times, energies, strict=True):
            drift.add(str(walker), time, energy)
    assert drift.largest() == pytest.approx(max(slopes, key=abs), abs=1e-6)
    assert report_dynamics.Drift().largest() is None


def test_nothing_comes_from_elsewhere_and_text_stays_text(learned):
    renamed = Path("loop", "<img src=x onerror=alert(1)>")
    Path("loop", "round-2").rename(renamed)
    psiflow("report", "loop")
    page = Page("loop/report.html")
    assert all(what.startswith("data:image/png;base64,") for what in page.loaded)
    assert page.images == 6
    assert NASTY not in page.text
    assert "onerror=alert(1)>" not in page.text
    assert any(NASTY in row[-1] for row in page.tables["Largest errors of the model"])


def test_the_worst_frames_can_be_turned(learned):
    chemiscope = pytest.importorskip("chemiscope", reason="chemiscope is not installed")
    psiflow("report", "loop")
    text = Path("loop/report.html").read_text()
    program = Path(chemiscope.__file__).parent / "sphinx" / "static" / "chemiscope.min.js"
    assert program.read_text() in text
    data = json.loads(re.search(r"StructureVisualizer\.load\(\{.*?\}, (.*)\);</script>", text)[1])
    assert [each["size"] for each in data["structures"]] == [3] * 10
    assert data["structures"][0]["x"][0] == pytest.approx(0.14)
    assert data["properties"]["error"]["values"] == pytest.approx([(14 - i) / 100 for i in range(10)])


def test_it_is_made_anew_when_something_has_changed(learned):
    psiflow("report", "loop")
    first = Path("loop/report.html").read_bytes()
    assert "is up to date" in psiflow("report", "loop").stderr
    Path("loop/round-2/parity.png").write_bytes(Path("loop/round-10/parity.png").read_bytes())
    assert "is up to date" not in psiflow("report", "loop").stderr
    assert Path("loop/report.html").read_bytes() != first
    first = Path("loop/report.html").read_bytes()
    shutil.rmtree("loop/labels.xyz.run")
    psiflow("report", "loop")
    assert Path("loop/report.html").read_bytes() != first
    assert "Failures" not in Page("loop/report.html").tables
    Path("mine.html").write_text("mine")
    psiflow("report", "loop", "-o", "mine.html", code=73)
    assert Path("mine.html").read_text() == "mine"


def test_it_goes_on_where_runs_have_died_and_files_were_cut(learned):
    run = Path("loop/labels.xyz.run/run.json")
    stored = json.loads(run.read_text())
    run.write_text(json.dumps({**stored, "result": None}))
    evaluated = Path("loop/round-10/e.xyz")
    evaluated.write_text("".join(evaluated.read_text().splitlines(True)[:23]))
    psiflow("report", "loop")
    psiflow("report", "loop", "-o", "other.html")
    page = Page("loop/report.html")
    assert ["labels.xyz", "label", "dead"] in [row[:3] for row in page.tables["Runs"]]
    assert [row[2] for row in page.tables["Largest errors of the model"][1:]] == ["4", "3", "2", "1"]
    assert "could not be read to its end: " in page.text
    assert "e.xyz:23: frame 5: ends after 1 of 3 atoms" in page.text
    assert "is up to date" in psiflow("report", "loop").stderr


def test_what_has_no_plot_gets_one(learned):
    Path("loop/round-2/parity.png").unlink()
    Path("loop/round-10/parity.png").unlink()
    edited = Path("loop/round-10/e.xyz")
    edited.write_text(edited.read_text().replace("energy=0 ", "energy=lost ", 1))
    psiflow("report", "loop")
    assert Page("loop/report.html").images == 6
    assert len(json.loads(Path("loop/report.html.run/pictures/parity-1.json").read_text())["frames"]) == 14
    data = json.loads(Path("loop/report.html.run/pictures/parity-0.json").read_text())["frames"]
    assert len(data) == 15
    assert data[3]["prediction"]["energy"] == pytest.approx(0.03**2), "2 eV/Å² / 2"
    assert data[3]["prediction"]["forces"][0] == pytest.approx([-0.06, 0, 0])
    assert data[3]["label"] == {"energy": 0.0, "forces": [[0.0] * 3] * 3, "stress": None}


def test_without_matplotlib_the_page_says_so(learned, monkeypatch):
    Path("bare").mkdir()
    Path("bare/matplotlib.py").write_text("raise ModuleNotFoundError('No module', name='matplotlib')\n")
    monkeypatch.setenv("PYTHONPATH", str(Path("bare").absolute()))
    psiflow("report", "loop")
    page = Page("loop/report.html")
    assert "matplotlib is not installed in the workers&#x27; environment" in page.text
    assert page.images == 2, "those that evaluate has drawn"


def test_one_run_and_what_has_none(learned, monkeypatch):
    psiflow("report", "loop/round-2/e.xyz.run")
    assert [row[0] for row in Page("loop/round-2/e.xyz.report.html").tables["Runs"][1:]] == ["e.xyz"]
    Path("empty").mkdir()
    monkeypatch.chdir("loop/round-10/e.xyz.run")
    Path("threads.toml").write_text(springs.SITE)
    psiflow("report", ".")
    assert Path("../e.xyz.report.html").exists()
    monkeypatch.chdir("../../..")
    assert "empty: no runs at or below it" in psiflow("report", "empty", code=66).stderr
    assert "gone: no such folder" in psiflow("report", "gone", code=66).stderr
    assert not list(Path("empty").iterdir())


def test_a_real_training_has_its_curve(learned, trained):
    psiflow("report", Path(trained.model).parent, "-o", "trained.html")
    page = Page("trained.html")
    assert ["water.model", "train", "done", "30/30"] in [row[:4] for row in page.tables["Runs"]]
    assert "Learning curves" in page.text
    assert page.images == 1
