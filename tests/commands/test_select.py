"""psiflow select: each way to choose against the same done by hand, what is left out and why, seeds, and kills."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from pathlib import Path

import pytest

from tests import warm
from tests.commands import springs
from tests.commands.inputs import ATOMS, BOX

np = pytest.importorskip("numpy")
pytest.importorskip("ase", reason="needs ase")

WATER = """3
Properties=species:S:1:pos:R:3:forces:R:3 name={} pbc="F F F"{}
O {} 0.0 0.0 0.0 0.0 0.0
H {} 0.0 0.0 0.0 {} 0.0
H {} 0.93 0.0 0.0 0.0 0.0
"""


def water(name, shift=0.0, push=0.0, more=""):
    """All springs of `springs.py` stretched by `shift` along x (Å), and the force on the second atom."""
    return WATER.format(name, more, shift, 0.96 + shift, push, -0.24 + shift)


def names(file):
    return re.findall(r"name=(\w+)", Path(file).read_text())


def shown(run):
    """State, units done and all of them, as status has it."""
    from psiflow_cli.stages.runs import status

    facts = status.describe(run)
    return facts["state"], facts["done"], facts["total"]


@pytest.fixture
def select(tmp_path, monkeypatch):
    """Run `psiflow select ARGS` in a folder with two models that cost nothing; returns the summary."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PSIFLOW_SITE", raising=False)
    springs.bundle(Path("one.model"), 2.0)
    springs.bundle(Path("two.model"), 1.0, 3.0)
    Path("threads.toml").write_text(springs.SITE)

    def run(*args, code=0, env=None):
        words = [springs.__file__, "select", *map(str, args), "--site", "threads.toml", "--json"]
        done = warm.server().run(words, env={**os.environ, **(env or {})})
        assert done.returncode == code, f"exit {done.returncode}, not {code}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return json.loads(done.stdout) if code == 0 else done.stderr

    return run


def test_random_is_a_seeds_choice_whatever_the_order_of_the_input(select):
    frames = [water(f"f{i}", i / 100) for i in range(40)]
    Path("data.xyz").write_text("".join(frames))
    Path("back.xyz").write_text("".join(reversed(frames)))
    found = select("data.xyz", "-n", 10, "--by", "random", "--seed", 3, "-o", "a.xyz", "--rest", "rest.xyz")
    assert found["chosen"] == 10
    assert found["left_out"] == {"not needed": 30}
    chosen = names("a.xyz")
    assert sorted(chosen, key=lambda name: int(name[1:])) == chosen, "in the order of the input"
    assert sorted(chosen + names("rest.xyz")) == sorted(names("data.xyz"))
    assert all(frame in Path("data.xyz").read_text() for frame in Path("a.xyz").read_text().split("3\nProp")[1:])
    select("back.xyz", "-n", 10, "--by", "random", "--seed", 3, "-o", "b.xyz")
    assert names("b.xyz") == chosen[::-1]
    select("data.xyz", "-n", 10, "--by", "random", "--seed", 4, "-o", "c.xyz")
    assert names("c.xyz") != chosen
    assert select("data.xyz", "-n", 10, "--by", "random", "--seed", 3, "-o", "a.xyz", "--rest", "rest.xyz")[
        "up_to_date"
    ]


def test_what_is_left_out_is_counted_by_its_reason(select):
    there, copy = water("there", 0.5), water("copy", 0.0)
    failed = water("failed", 0.7, more=" failure=unconverged")
    Path("data.xyz").write_text(water("a") + water("b", 0.1) + copy + there.replace("there", "again") + failed + ATOMS)
    Path("there.xyz").write_text(there)
    found = select("data.xyz", "-n", 9, "--by", "random", "--exclude", "there.xyz", "-o", "out.xyz")
    assert names("out.xyz") == ["a", "b"]
    assert found["left_out"] == {
        "duplicate": 1, "excluded": 1, "failed before": 1, "isolated atom": ATOMS.count("pbc"),
    }  # fmt: skip
    assert found["total"] == 5 + ATOMS.count("pbc")


def test_a_committees_spread_by_hand(select):
    """Springs of 1 and 3 eV/Å² differ on each atom by their standard deviation times its displacement."""
    shifts = {"a": 0.0, "b": 0.3, "c": 0.1, "d": 0.6, "e": 0.2}
    Path("data.xyz").write_text("".join(water(name, shift) for name, shift in shifts.items()))
    of_one = np.std([1.0, 3.0])
    for n, wanted in ((1, "d"), (2, "bd"), (4, "bcde")):
        found = select("data.xyz", "-n", n, "--by", "committee", "--model", "two.model", "-o", f"{n}.xyz")
        assert names(f"{n}.xyz") == list(wanted)
        assert found["score"]["largest"] == pytest.approx(0.6 * of_one)
        assert found["score"]["least"] == pytest.approx(shifts[min(wanted, key=shifts.get)] * of_one)
    limits = f"{0.15 * of_one}:{0.4 * of_one}"
    found = select("data.xyz", "--by", "committee", "--model", "two.model", "--threshold", limits, "-o", "some.xyz")
    assert names("some.xyz") == ["b", "e"]
    assert found["left_out"] == {"above the threshold": 1, "below the threshold": 2}


def test_the_error_by_hand_and_its_mean(select):
    """A spring of 2 eV/Å² pulls each atom by -2 x; the labels are zero but on one atom."""
    frames = {"a": (0.1, 0.0), "b": (0.2, 0.0), "c": (0.11, 0.35), "d": (0.15, -0.3)}
    Path("data.xyz").write_text("".join(water(name, *both) for name, both in frames.items()))
    # (0.35 is along y: the norm of the error of that atom)
    largest = {name: max(2 * x, np.hypot(2 * x, push)) for name, (x, push) in frames.items()}
    means = {name: (4 * x + np.hypot(2 * x, push)) / 3 for name, (x, push) in frames.items()}
    for score, values in (("max", largest), ("mean", means)):
        order = sorted(values, key=values.get, reverse=True)
        found = select(
            "data.xyz", "-n", 2, "--by", "error", "--score", score, "--model", "one.model", "-o", f"{score}.xyz"
        )
        assert sorted(names(f"{score}.xyz")) == sorted(order[:2])
        assert found["score"] == pytest.approx({"largest": values[order[0]], "least": values[order[1]]})


def test_what_evaluate_wrote_is_enough(select, psiflow):
    Path("data.xyz").write_text("".join(water(f"f{i}", i / 10) for i in range(6)))
    words = [springs.__file__, "evaluate", "data.xyz", "--model", "two.model", "-o", "seen.xyz"]
    warm.server().run([*words, "--site", "threads.toml"]).check_returncode()
    for by in ("committee", "error"):
        with_model = select("data.xyz", "-n", 2, "--by", by, "--model", "two.model", "-o", f"{by}-m.xyz")
        without = select("seen.xyz", "-n", 2, "--by", by, "-o", f"{by}.xyz")
        assert names(f"{by}.xyz") == names(f"{by}-m.xyz") == ["f4", "f5"]
        assert without["score"] == pytest.approx(with_model["score"])
    said = select("data.xyz", "-n", 2, "--by", "committee", "-o", "none.xyz", code=65)
    assert "data.xyz:1: frame 1: no model_forces_std" in said
    assert "predict it with --model BUNDLE" in said


def test_farthest_is_far_from_what_is_there_and_from_each_other(select):
    """Along a line, from 0: the end, the middle, the quarters."""
    Path("data.xyz").write_text("".join(water(f"f{i}", i / 16) for i in range(17)))
    Path("there.xyz").write_text(water("there", 0.0))
    given = ("data.xyz", "--by", "farthest", "--model", "one.model", "--exclude", "there.xyz")
    select(*given, "-n", 2, "-o", "two.xyz")
    assert names("two.xyz") == ["f8", "f16"]
    select(*given, "-n", 4, "-o", "four.xyz")
    assert names("four.xyz") == ["f4", "f8", "f12", "f16"]
    found = select(*given, "--min-distance", 0.2, "-o", "apart.xyz")
    assert names("apart.xyz") == ["f4", "f8", "f12", "f16"]
    assert found["left_out"] == {"excluded": 1, "too near": 12}
    select("data.xyz", "--by", "farthest", "--model", "one.model", "-n", 1, "-o", "typical.xyz")
    assert names("typical.xyz") == ["f8"]


def test_the_most_disputed_that_are_apart(select):
    Path("data.xyz").write_text("".join(water(f"f{i}", i / 16) for i in range(17)))
    found = select(
        "data.xyz", "-n", 3, "--by", "committee", "--model", "two.model", "--min-distance", 0.15, "-o", "out.xyz"
    )
    assert names("out.xyz") == ["f10", "f13", "f16"]
    assert found["left_out"] == {"too near": 4, "not needed": 10}


def test_every_composition_has_its_share(select):
    waters = [water(f"w{i}", i / 100) for i in range(30)]
    ions = [water(f"i{i}", 1 + i / 100).replace("H ", "O ", 1) for i in range(9)]
    Path("data.xyz").write_text("".join(waters + ions + [water("rare", 3.0).replace("O ", "H ", 1)]))
    found = select("data.xyz", "-n", 20, "--by", "random", "--stratify", "composition", "-o", "out.xyz")
    chosen = names("out.xyz")
    assert found["chosen"] == 20
    assert [sum(name[0] == kind for name in chosen) for kind in "wir"] == [15, 4, 1]


def test_soap_needs_no_model_and_knows_what_only_looks_different(select):
    """Turned, moved and with its atoms in another order a structure is the same point; a stretched one is not."""
    pytest.importorskip("dscribe", reason="dscribe is not installed")
    from io import StringIO

    from ase.io import read, write

    first = read(StringIO(BOX), format="extxyz")
    turned = first.copy()
    turned.rotate(40, (1, 2, 3), rotate_cell=True)
    turned.translate((1.0, 2.0, 3.0))
    turned = turned[::-1]
    far = first.copy()
    far.positions[1] += (0.4, 0.1, 0.2)
    for name, atoms in (("first", first), ("turned", turned), ("far", far)):
        atoms.info["name"] = name
        write("data.xyz", atoms, append=True)
    found = select("data.xyz", "--by", "farthest", "--min-distance", 1e-4, "-o", "out.xyz")
    assert found["chosen"] == 2
    assert found["left_out"] == {"too near": 1}
    assert "far" in names("out.xyz")


def test_frames_that_no_worker_can_describe_are_told_apart(select):
    """The model has no such element, and there is no SOAP where there is no dscribe."""
    Path("data.xyz").write_text(water("a") + water("b", 0.1).replace("O ", "F ", 1))
    found = select("data.xyz", "-n", 2, "--by", "farthest", "--model", "one.model", "-o", "some.xyz")
    assert names("some.xyz") == ["a"]
    assert (found["failures"], found["left_out"]) == ({"invalid-input": 1}, {"no features": 1})
    assert shown(Path("some.xyz.run")) == ("done", 2, 2)
    assert "the model does not know F" in found["failed_hint"]
    Path("data.xyz").write_text(water("b", 0.1).replace("O ", "F ", 1))
    for _ in range(2):
        words = ("data.xyz", "-n", 2, "--by", "farthest", "--model", "one.model", "-o", "no.xyz")
        assert "1 of 1 failed" in select(*words, code=1)
        assert json.loads(Path("no.xyz.run/run.json").read_text())["result"]["exit_code"] == 1
    Path("dscribe.py").write_text("raise ImportError('a stand-in for its absence')")
    said = select("data.xyz", "-n", 1, "--by", "farthest", "-o", "none.xyz", code=78, env={"PYTHONPATH": "."})
    assert "SOAP is not available in the workers' environment: a stand-in" in said
    assert "the extra soap" in said


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("--by", "random"), 2, "give --number, --threshold or --min-distance"),
        (("-n", 3), 2, "--by"),
        (("-n", 3, "--by", "random", "--threshold", 0.1), 2, "--threshold has no effect with --by random"),
        (("-n", 3, "--by", "committee", "--threshold", "0.5:0.1"), 2, "neither a score such as 0.1 nor a range"),
        (("-n", 3, "--by", "farthest", "--descriptor", "model"), 2, "--descriptor model needs a model"),
        (("-n", 3, "--by", "committee", "--model", "one.model"), 2, "train --members"),
        (("-n", 3, "--by", "farther"), 2, "farthest"),
        (("-n", 3, "--by", "random", "--exclude", "gone.xyz"), 66, "gone.xyz: no such file"),
        (("-n", 3, "--by", "error", "--model", "one.model"), 65, "no forces to compare with"),
    ],
)
def test_what_cannot_be_is_said_before_anything_runs(select, args, code, said):
    Path("data.xyz").write_text(water("a").replace(":forces:R:3", "").replace(" 0.0 0.0 0.0\n", "\n"))
    assert said in select("data.xyz", *args, "-o", "out.xyz", code=code)
    assert not Path("out.xyz").exists()


def test_the_users_own_file_stays(select):
    Path("data.xyz").write_text(water("a") + water("b", 0.1))
    Path("mine.xyz").write_text("mine")
    select("data.xyz", "-n", 1, "--by", "random", "-o", "mine.xyz", code=73)
    select("data.xyz", "-n", 1, "--by", "random", "-o", "out.xyz", "--rest", "mine.xyz", code=73)
    assert Path("mine.xyz").read_text() == "mine"


@pytest.mark.full
def test_killed_while_it_describes_it_goes_on(start):
    pytest.importorskip("dscribe", reason="dscribe is not installed")
    Path("data.xyz").write_text(
        "".join(water(f"f{i}", i / 10).replace("0.93", f"{0.8 + i / 1e4}") for i in range(1500))
    )
    words = ("select", "data.xyz", "-n", 40, "--by", "farthest", "-o")
    first = start(*words, "out.xyz")
    journal, deadline = Path("out.xyz.run/journal.jsonl"), time.monotonic() + 120
    while not (journal.exists() and journal.read_bytes().count(b"features") > 20):
        assert time.monotonic() < deadline
        assert first.poll() is None, "it ended before it was killed"
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert not Path("out.xyz").exists()
    assert start(*words, "out.xyz").wait(200) == 0
    assert start(*words, "other.xyz").wait(200) == 0
    assert Path("out.xyz").read_bytes() == Path("other.xyz").read_bytes()
    keys = [json.loads(line).get("id") for line in journal.read_text().splitlines() if '"features"' in line]
    assert len(keys) == len(set(keys)) == 1500
