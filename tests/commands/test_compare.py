"""psiflow compare: one table of several evaluations, and its two questions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from psiflow_cli.main import main


@pytest.fixture
def compare(tmp_path, monkeypatch):
    """Run `psiflow compare ARGS`; returns what it printed. `code` is what it must exit with."""
    monkeypatch.chdir(tmp_path)

    def run(*args, code=0):
        done = CliRunner().invoke(main, ["compare", *map(str, args)])
        assert done.exit_code == code, done.output
        return done.output

    return run


def errors(name, forces, energy=1.0, count=90, **more):
    """A file as `psiflow evaluate --json` writes it; returns its name."""
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        {"quantity": q, "unit": u, "by": "all", "group": "", "rmse": r, "mae": r / 2, "max": 2 * r, "count": count}
        for q, u, r in (("energy", "meV/atom", energy), ("forces", "meV/Å", forces))
    ]
    element = {**rows[1], "by": "element", "group": "H", "rmse": 0.001}
    path.write_text(json.dumps({"total": 12, "failed": 2, "errors": [*rows, element], **more}))
    return name


def test_the_table_has_a_row_each_and_a_star_at_the_least(compare):
    a = errors("loop/round-0/errors.json", 80.0, energy=0.5)
    b = errors("loop/round-1/errors.json", 50.25, energy=0.75)
    above, head, first, second = compare(a, b).splitlines()
    assert above.split() == ["energy", "(meV/atom)", "forces", "(meV/Å)"]
    assert head.split() == ["frames", "RMSE", "MAE", "RMSE", "MAE"]
    assert first.split() == ["round-0", "10", "0.50*", "0.25", "80.00", "40.00"]
    assert second.split() == ["round-1", "10", "0.75", "0.38", "50.25*", "25.12"]
    assert first.index(".50*") + 1 == second.index(".75") + 1
    assert "*" not in compare(a), "a single one is not compared"
    listed = json.loads(compare(a, b, "--json"))
    assert [m["name"] for m in listed["models"]] == ["round-0", "round-1"]
    assert listed["models"][1]["errors"]["forces"]["rmse"] == 50.25
    head, *rows = compare(a, b, "--csv").splitlines()
    assert head == "model,frames,quantity,unit,rmse,mae,max,count"
    assert rows[3] == "round-1,10,forces,meV/Å,50.25,25.125,100.5,90"
    assert len(rows) == 4
    assert "--csv and --json together" in compare(a, b, "--csv", "--json", code=2)


@pytest.mark.parametrize(("target", "code"), [("forces=50", 0), ("forces=49.9", 1), ("energy=1", 0), ("energy=0.9", 1)])
def test_reached_asks_for_the_last_one(compare, target, code):
    compare(errors("a.json", 1.0, energy=0.1), errors("b.json", 50.0), "--reached", target, code=code)


@pytest.mark.parametrize(
    ("forces", "more", "code"),
    [
        ((100,), (), 0),
        ((100, 97), (), 0),
        ((100, 99), (), 1),
        ((100, 50, 60), (), 1),
        ((100, 50, 60), ("--last", 2), 0),
        ((50, 100, 60), ("--last", 2), 1),
        ((50, 100), ("--last", 2), 0),
    ],
)
def test_improved_asks_for_the_best_of_the_last(compare, forces, more, code):
    files = [errors(f"{i}.json", f) for i, f in enumerate(forces)]
    compare(*files, "--improved", "2%", *more, code=code)


def test_both_questions_must_be_answered_with_yes(compare):
    files = errors("a.json", 100.0), errors("b.json", 60.0)
    compare(*files, "--improved", "0.1", "--reached", "forces=70")
    answer = json.loads(compare(*files, "--improved", "0.1", "--reached", "forces=50", "--json", "-q", code=1))
    assert (answer["improved"], answer["reached"]) == (True, False)
    compare(*files, "--improved", "0.1", "--by", "energy", code=1)


def test_what_was_compared_is_said(compare):
    files = errors("old.json", 35.0), errors("new.json", 31.2), errors("newer.json", 33.0)
    said = compare(*files[:2], "--improved", "0")
    assert "psiflow: forces RMSE 31.20 meV/Å (new.json), 35.00 before (old.json): better\n" in said
    said = compare(*files, "--improved", "20%", "--last", 2, code=1)
    assert "31.20 meV/Å (new.json), 35.00 before (old.json): not better by 0.2\n" in said
    assert "33.00 meV/Å (newer.json), 31.20 before (new.json): not better\n" in compare(
        *files, "--improved", "0", code=1
    )
    assert "nothing to compare to: better" in compare(files[0], "--improved", "0")
    assert "before" not in compare(*files, "--improved", "0", "-q", code=1)


def test_errors_of_other_frames_are_not_compared(compare):
    said = compare(errors("a.json", 100.0), errors("b.json", 60.0, count=30), "--improved", "0", code=65)
    assert said.startswith("psiflow: b.json: errors of 30 values of forces, but a.json has 90")


def test_what_is_wrong_is_said(compare):
    Path("half.json").write_text('{"total": 3, "err')
    Path("other.json").write_text("[]")
    good = errors("a.json", 1.0)
    assert "half.json: not what psiflow evaluate --json writes" in compare(good, "half.json", code=65)
    assert "other.json: not what" in compare("other.json", code=65)
    assert "gone.json: No such file" in compare("gone.json", code=66)
    assert "no error of the stress" in compare(good, "--reached", "stress=1", code=65)
    unlabelled = errors("b.json", 1.0, errors=[])
    assert "no error of the forces" in compare(unlabelled, "--improved", "1%", good, code=65)
    for wrong in ("50", "forces=", "force=3", "forces=nan"):
        compare(good, "--reached", wrong, code=2)
    for wrong in ("much", "-1%", "100%"):
        compare(good, "--improved", wrong, code=2)
    compare(code=2)
