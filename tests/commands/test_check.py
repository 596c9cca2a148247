"""psiflow check: exit codes, the table and --json, a file that ends early, pipes, running again, a model's stress."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from psiflow_cli.stages.check import stage
from psiflow_cli.stages.runs import status
from tests import warm
from tests.commands import springs
from tests.stages.check.checked import PLACES, bonded, frame

pytest.importorskip("ase", reason="the distances are computed with ase")

ATOMS = "".join(
    frame([(0.0, 0.0, 0.0)], None, energy, " config_type=IsolatedAtom", [element])
    for element, energy in (("H", -13.6), ("O", -432.0))
)
GOOD = bonded(12) + ATOMS
FAR = ((0.0, 0.0, 0.0), (0.96, 0.0, 0.0), (0.97, 0.0, 0.1))
"""The hydrogen atoms overlap."""


@pytest.fixture
def check(psiflow):
    """`psiflow check ARGS --json` with workers that begin at once; returns what it found."""
    Path("threads.toml").write_text(springs.SITE)

    def run(*args, code=0, **options):
        return json.loads(psiflow("check", *args, "--site", "threads.toml", "--json", code=code, **options).stdout)

    return run


def kinds(summary):
    return [(found["severity"], found["check"]) for found in summary["findings"]]


def test_good_data_end_with_0_and_say_so(check, psiflow):
    Path("data.xyz").write_text(GOOD)
    found = check("data.xyz")
    assert found["findings"] == []
    assert (found["total"], found["errors"], found["warnings"], found["exit_code"]) == (14, 0, 0, 0)
    assert found["elements"] == ["H", "O"]
    assert found["config_types"] == {"": 12, "IsolatedAtom": 2}
    again = psiflow("check", "data.xyz", "--site", "threads.toml")
    assert "up to date" in again.stderr
    assert again.stdout.splitlines() == ["14 frames of H, O", "config_type: (none) 12, IsolatedAtom 2"]


def test_errors_end_with_65_and_warnings_with_0(check):
    Path("data.xyz").write_text(bonded(12))
    assert kinds(check("data.xyz")) == [("warning", "isolated-atoms")]
    Path("bad.xyz").write_text(GOOD + frame(energy=1.0))
    found = check("bad.xyz", code=65)
    assert kinds(found) == [("error", "keys"), ("warning", "outlier")]
    assert found["exit_code"] == 65
    assert found["findings"][0]["places"] == [{"file": "bad.xyz", "line": 67, "frame": 15}]
    again = check("bad.xyz", code=65)
    assert again["up_to_date"]
    run = next(Path(".psiflow").glob("check-*/run.json"))
    assert status.state_of(run.parent, json.loads(run.read_text())) == "done", "it did its work"
    assert again["findings"] == found["findings"]
    Path("bad.xyz").write_text(GOOD)
    assert kinds(check("bad.xyz")) == []


def test_overlapping_atoms(check):
    zero = [[0.0, 0.0, 0.1], [0.0, 0.0, -0.1], [0.0, 0.0, 0.0]]
    near = frame(((0.0, 0.0, 0.0), (0.96, 0.0, 0.0), (0.5, 0.22, 0.0)), zero, -468.0)
    Path("data.xyz").write_text(GOOD + frame(FAR, zero, -468.0) + near)
    found = check("data.xyz", code=65)
    overlap = [each for each in found["findings"] if each["check"] == "overlap"]
    assert [(each["severity"], each["count"]) for each in overlap] == [("error", 1), ("warning", 1)]
    assert overlap[0]["what"] == "H (atom 2) and H (atom 3) are 0.100 Å apart"
    assert overlap[0]["places"][0]["frame"] == 15
    assert overlap[1]["places"][0]["frame"] == 16


def test_a_file_that_ends_early_is_looked_at_until_there(check, psiflow):
    Path("cut.xyz").write_text(GOOD[:-20])
    Path("more.xyz").write_text(bonded(3, seed=1))
    found = check("cut.xyz", "more.xyz", code=65)
    assert ("error", "unreadable") in kinds(found)
    assert found["total"] == 16
    assert "cut.xyz:65: frame 14: ends after 0 of 1 atoms" in found["findings"][0]["what"]
    Path("none.xyz").write_text("no frames\n")
    assert kinds(check("none.xyz", code=65)) == [("error", "unreadable")]
    psiflow("check", "missing.xyz", code=66)


def test_pipes_packed_files_and_other_keys(check):
    other = GOOD.replace("energy=", "E=").replace(":forces:", ":F:")
    Path("data.xyz.gz").write_bytes(gzip.compress(other.encode()))
    assert ("warning", "keys") in kinds(check("data.xyz.gz"))
    assert kinds(check("data.xyz.gz", "--keys", "energy=E,forces=F")) == []
    assert ("error", "keys") in kinds(check("data.xyz.gz", "--keys", "energy=E,forces=FF", code=65))
    found = check("-", stdin=GOOD + bonded(1))
    assert kinds(found) == [("warning", "duplicate")]
    assert found["findings"][0]["places"][0] == {"file": "<stdin>", "line": 67, "frame": 15}


def test_the_table_fits_the_terminal(psiflow, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    Path("threads.toml").write_text(springs.SITE)
    Path("a-rather-long-name-of-a-file.xyz").write_text(bonded(12) + frame(energy=1.0) * 5)
    done = psiflow("check", "a-rather-long-name-of-a-file.xyz", "--site", "threads.toml", code=65)
    assert max(map(len, done.stdout.splitlines())) <= 60
    text = " ".join(done.stdout.split())
    assert "error keys: no forces, which 12 of 17 frames have (5 frames)" in text
    assert "a-rather-long-name-of-a-file.xyz:61: frame 13, " in text
    assert "frame 15, …" in text
    assert "warning isolated-atoms: no isolated atom of H, O" in text
    assert "17 frames checked: 1 error, 3 warnings" in done.stderr


def pressed(count, factor):
    """Boxes on springs, as `springs.py` has them, with a stress that is multiplied by `factor`.

    It is that of their energy: their places stay when the cell is strained, so it is not what the springs' calculator
    says, and a check that believes the calculator would find fault with it.
    """
    texts = []
    for n in range(1, count + 1):
        away = [[0.02 * n, 0.01, 0.0], [-0.01 * n, 0.02, 0.03], [-0.01 * n, -0.03, -0.03]]
        forces = [[-2.0 * x for x in row] for row in away]
        moved = [[x + dx for x, dx in zip(place, row, strict=True)] for place, row in zip(PLACES, away, strict=True)]
        pull = [[sum(f[i] * x[j] for f, x in zip(forces, moved, strict=True)) for j in range(3)] for i in range(3)]
        stress = [-factor * (pull[i][j] + pull[j][i]) / 2 / 729 for i in range(3) for j in range(3)]
        more = f' Lattice="9 0 0 0 9 0 0 0 9" stress="{" ".join(map(repr, stress))}"'
        texts.append(frame(moved, forces, sum(x * x for row in away for x in row), more, pbc="T T T"))
    return "".join(texts)


def test_the_stress_is_compared_with_a_models(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("threads.toml").write_text(springs.SITE)

    def check(*args, code=0):
        words = [springs.__file__, "check", *args, "--site", "threads.toml", "--json"]
        done = warm.server().run(words)
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout)

    springs.bundle(Path("one.model"), 2.0)
    for name, factor in (("good", 1.0), ("turned", -1.0), ("gpa", 160.21766)):
        Path(f"{name}.xyz").write_text(pressed(8, factor) + ATOMS.replace("-13.6", "1.0").replace("-432.0", "2.0"))
    assert kinds(check("good.xyz", "--model", "one.model")) == []
    found = check("turned.xyz", "--model", "one.model", code=65)
    assert kinds(found) == [("error", "stress")]
    assert "wrong sign: in 8 frames" in found["findings"][0]["what"]
    found = check("gpa.xyz", "--model", "one.model", code=65)
    assert "looks like GPa" in found["findings"][0]["what"]
    assert kinds(check("turned.xyz")) == [], "without a model nothing says so"


def test_data_are_looked_at_again_by_new_checks(check, psiflow, monkeypatch):
    Path("data.xyz").write_text(GOOD)
    assert not check("data.xyz")["up_to_date"]
    assert check("data.xyz")["up_to_date"]
    for facts in Path(".psiflow").glob("check-*/run.json"):
        assert json.loads(facts.read_text())["settings"]["checks"] == stage.VERSION


@pytest.mark.parametrize(
    ("arguments", "code", "what"),
    [
        (("data.xyz", "--keys", "energi=E"), 2, "energi"),
        (("data.xyz", "--model", "missing.model"), 66, "missing.model"),
        (("-", "-"), 2, "stdin"),
        ((), 2, "FRAMES"),
    ],
)
def test_wrong_usage(psiflow, arguments, code, what):
    Path("data.xyz").write_text(GOOD)
    assert what in psiflow("check", *arguments, code=code).stderr
    assert not Path(".psiflow").exists()
