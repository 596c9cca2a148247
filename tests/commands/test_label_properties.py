"""What a label holds besides energy, forces and stress goes into the frames, comes back with --from, and goes again."""

from __future__ import annotations

from pathlib import Path

import pytest

ase_io = pytest.importorskip("ase.io", reason="needs ase")

FRAMES = '2\npbc="F F F"\nH 0 0 0\nH 0 0 0.74\n' + '2\ndipole="9 9 9"\nO 0 0 0\nH 0 0 0.9\n'
REFERENCE = '''"""A code that knows charges, for tests."""
SUMMARY = "for a test"
REQUIRES = ()
FRAME_INPUTS = ()
DEFAULT_TASK_SECONDS = 0.5

def settings(input_file, options):
    return options

def check(settings, elements):
    return ["note: only H and O"]

def label(frames, settings, context):
    return [one(frame, settings.get("more", "yes")) for frame in frames]

def one(frame, more):
    z = frame["positions"][1][2]
    found = {"energy": -z, "forces": [[0.0, 0.0, z]] * 2, "stress": None, "code": "test 1"}
    if more == "yes":
        found.update(info={"dipole": [0.0, 0.0, z], "gap": 2 * z}, arrays={"mulliken_charges": [z / 10, -z / 10]})
    if more == "broken":
        found.update(arrays={"mulliken_charges": [z]})
    return found
'''


def test_properties_in_frames(psiflow, threads, monkeypatch):
    Path("in.xyz").write_text(FRAMES)
    Path("mine.py").write_text(REFERENCE)
    arguments = ("label", "in.xyz", "--reference", "./mine.py")
    done = psiflow(*arguments, "-o", "out.xyz")
    assert "note: only H and O" in done.stderr
    first, second = ase_io.read("out.xyz", ":")
    assert first.calc.results["dipole"] == pytest.approx([0, 0, 0.74])
    assert second.calc.results["dipole"] == pytest.approx([0, 0, 0.9])
    assert first.info["gap"] == 1.48
    assert first.arrays["mulliken_charges"] == pytest.approx([0.074, -0.074])
    assert first.info["psiflow_properties"] == "dipole gap mulliken_charges"
    text = Path("out.xyz").read_text()

    monkeypatch.setenv("PSIFLOW_SITE", threads)  # they have come from a worker once
    psiflow(*arguments, "--from", "out.xyz", "-o", "taken.xyz")
    assert Path("taken.xyz").read_text() == text

    psiflow("label", "out.xyz", "--reference", "./mine.py", "--set", "more=no", "-o", "less.xyz")
    less = Path("less.xyz").read_text()
    for name in ("dipole", "gap", "mulliken_charges", "psiflow_properties"):
        assert name not in less, "what belongs to other labels is left out"

    psiflow(*arguments, "--set", "more=broken", "-o", "broken.xyz", code=1)
    assert ase_io.read("broken.failed.xyz", 0).info["failure"] == "inconsistent"
