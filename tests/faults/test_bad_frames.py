"""Frames that segfault, hang, take all memory, do not converge or give NaN (R7): each in its class, no other harmed."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.commands.inputs import copper
from tests.faults.faulty import FAULTS
from tests.faults.runs import FAULTY, arguments, at, begun, finished, records, site

ase_io = pytest.importorskip("ase.io", reason="the outputs are read with ase")
LIMITS = 'walltime = "1 s"\nmemory = "300 MB"'
ONE_BY_ONE = "DEFAULT_TASK_SECONDS = 0.0"


def among(good, bad):
    """The frames in one file, the bad ones evenly spread; returns what class each bad position belongs to."""
    frames = copper(good).split("4\nLattice")[1:]
    frames = [f"4\nLattice{text}" for text in frames]
    expected = {}
    for number, (fault, shift) in enumerate(bad):
        x, kind = FAULTS[fault]
        frames.insert((number + 1) * len(frames) // (len(bad) + 1), at(x).replace("Cu 1.8 1.8", f"Cu {shift} 1.8"))
        expected[(x, shift)] = kind
    Path("in.xyz").write_text("".join(frames))
    return expected


def outcome(output):
    """The labelled frames, and the class of each failed one by what makes it bad."""
    failed = ase_io.read(output.replace(".xyz", ".failed.xyz"), ":")
    return ase_io.read(output, ":"), {(f.positions[0][0], f.positions[1][0]): f.info["failure"] for f in failed}


@pytest.mark.parametrize("grouped", [True, pytest.param(False, marks=pytest.mark.full)])
def test_twenty_bad_among_two_hundred(psiflow, grouped):
    """Those that end their worker come once each here: Parsl takes 3 s to notice."""
    mild = ["memory", "unconverged", "NaN", "no forces", "exception", "exit"]
    hard = ["segfault", "hang", "hang in C", "program that hangs", "program over its memory"]
    names = [*hard, *(mild * 3)[: 20 - len(hard)]]
    expected = among(180, [(name, 1.7 + 0.001 * number) for number, name in enumerate(names)])
    site(resources=LIMITS)
    reference = FAULTY
    if not grouped:
        reference = Path("single.py")
        reference.write_text(FAULTY.read_text().replace("DEFAULT_TASK_SECONDS = 0.25", ONE_BY_ONE))
        assert ONE_BY_ONE in reference.read_text()
    done = psiflow(*arguments("out.xyz", reference=reference), code=1)
    good, failed = outcome("out.xyz")
    assert failed == expected
    assert len(good) == 180
    assert all(frame.get_potential_energy() == pytest.approx(frame.positions.sum()) for frame in good)
    assert "20 of 200 failed" in done.stderr
    assert set(finished("out.xyz").values()) == {1}
    shown = json.loads(psiflow("status", "out.xyz", "--failures", "--json").stdout)[0]["failures"]
    assert Counter(failure["failure"] for failure in shown) == Counter(expected.values())
    hung = [unit["id"] for unit in records("out.xyz") if unit.get("failure") == "timeout"]
    traces = [Path(f"out.xyz.run/logs/{frame}.hang") for frame in hung]
    assert [trace.exists() for trace in traces].count(True) == 2
    assert all("in _fault" in trace.read_text() for trace in traces if trace.exists())


def test_a_frame_that_kills_its_worker_is_quarantined_and_no_other_is_blamed(psiflow):
    expected = among(200, [("segfault", 1.7)])
    site(more="tasks_per_node = 2")
    psiflow(*arguments("out.xyz", "--set", "seconds=0.002"), code=1)
    good, failed = outcome("out.xyz")
    assert (len(good), failed) == (200, expected)
    guilty = next(unit["id"] for unit in records("out.xyz") if unit.get("failure") == "worker-lost")
    lost = [record["ids"] for record in records("out.xyz") if record["kind"] == "lost"]
    assert [guilty] in lost, "it was not tried alone"
    assert [len(ids) for ids in lost].count(1) == 3, "three times alone, then no more"
    assert len(lost) == 4, "the group it was in, then three times alone"
    assert len(lost[0]) > 1, "it was in a group"
    assert begun("out.xyz")[guilty] == 4
    message = next(f.info["failure_message"] for f in ase_io.read("out.failed.xyz", ":"))
    assert "3 times" in message


@pytest.mark.parametrize(
    ("reference", "options"), [("emt", ()), pytest.param("xtb", ("--set", "method=GFN1-xTB"), marks=pytest.mark.full)]
)
def test_shipped_references_end_by_the_walltime_too(psiflow, reference, options):
    """A cluster too large for the time it gets."""
    if reference == "xtb":
        pytest.importorskip("tblite", reason="the xtb reference needs tblite")
    edge = 45 if reference == "emt" else 6
    rows = [f"Cu {2.3 * i} {2.3 * j} {2.3 * k}" for i in range(edge) for j in range(edge) for k in range(edge)]
    large = f"{len(rows)}\n\n" + "\n".join(rows) + "\n"
    Path("in.xyz").write_text("".join([copper(1).replace('pbc="T T T"', 'pbc="F F F"'), large]))
    site(resources='walltime = "1 s"')
    psiflow(*arguments("out.xyz", *options, reference=reference), code=1)
    failed = ase_io.read("out.failed.xyz", ":")
    assert [(len(frame), frame.info["failure"]) for frame in failed] == [(len(rows), "timeout")]
    assert len(ase_io.read("out.xyz", ":")) == 1
