"""Second chances and labels that are there already: declared recovery, a larger executor, other files, no hope."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.commands.inputs import copper

SITE = """
[providers.here]
[resources.task]
[resources.large]
memory = "300 MB"
[executors.default]
provider = "here"
resources = "task"
on_oom = "large"
[executors.large]
provider = "here"
resources = "large"
[use]
default = "default"
"""
# Converges where x of the first atom is below the setting `reach`; needs more memory than it has from `heavy` on.
REFERENCE = '''"""A code with limits, for tests."""
from psiflow_cli.worker.failures import failure

SUMMARY = "for a test"
REQUIRES = ()
FRAME_INPUTS = ()
DEFAULT_TASK_SECONDS = 0.5
DEFAULTS = {"reach": "2", "heavy": "9"}

def settings(input_file, options):
    return {**DEFAULTS, **options}

def changed(settings, changes):
    return {**settings, **changes}

def check(settings, elements):
    pass

def code(context):
    return "test 1"

def label(frames, settings, context):
    return [one(frame, settings, context) for frame in frames]

def one(frame, settings, context):
    x = frame["positions"][0][0]
    if x >= float(settings["heavy"]) and not context["memory"]:
        return failure("out-of-memory", "too heavy")
    if x >= float(settings["reach"]):
        return failure("unconverged", f"only up to {settings['reach']}")
    return {"energy": x, "forces": [[x, 0.0, 0.0]] * 4, "stress": [x] * 6, "code": code(context)}
'''


@pytest.fixture
def label(psiflow, threads):
    """Label six frames, whose first atoms stand at 0.0, 0.2, … 1.0 Å, with settings and options."""
    Path("mine.py").write_text(REFERENCE)
    Path("in.xyz").write_text(copper(6, 1.0))

    def run(*options, code=0, output="out.xyz", site=threads, **settings):
        sets = [word for pair in settings.items() for word in ("--set", "=".join(pair))]
        command = ("label", "in.xyz", "--reference", "./mine.py", "--site", site, "-o", output)
        return psiflow(*command, *sets, *options, code=code)

    return run


def frames(name="out.xyz"):
    return Path(name).read_text().splitlines()[1::6]


def units(output="out.xyz"):
    records = [json.loads(line) for line in Path(f"{output}.run/journal.jsonl").read_text().splitlines()]
    return [record for record in records if record["kind"] == "unit"]


def test_nothing_is_tried_that_was_not_asked_for(label):
    label(reach="0.5", code=1)
    assert len(frames()) == 3
    assert len(units()) == 6


def test_declared_steps_are_tried_in_order_and_recorded(label):
    label("--recover", "reach=0.7", "--recover", "reach=0.9,heavy=8", reach="0.5", code=1)
    assert ["psiflow_recovery" in frame for frame in frames()] == [False, False, False, True, True]
    assert 'psiflow_recovery="reach=0.7"' in frames()[3]
    assert 'psiflow_recovery="reach=0.9, heavy=8"' in frames()[4]
    failed = frames("out.failed.xyz")
    assert len(failed) == 1
    assert "unconverged" in failed[0]
    assert len(units()) == 6


def test_all_labels_have_the_same_fingerprint(label):
    label("--recover", "reach=2", reach="0.5")
    references = {frame.partition("psiflow_reference=")[2].split()[0] for frame in frames()}
    label(reach="0.5", output="plain.xyz", code=1)
    assert references == {frames("plain.xyz")[0].partition("psiflow_reference=")[2].split()[0]}


def test_the_side_file_of_the_input_counts(label, tmp_path):
    Path("method.inp").write_text("")
    Path("method.recover.toml").write_text("[[unconverged]]\nreach = 2\n")
    label("--input", "method.inp", reach="0.5")
    assert sum("psiflow_recovery" in frame for frame in frames()) == 3
    Path("method.recover.toml").write_text("[[unconvergd]]\nreach = 2\n")
    assert "unconvergd: unknown key" in label("--input", "method.inp", reach="0.4", code=78).stderr


@pytest.mark.parametrize("text", ["reach", "=2"])
def test_a_recovery_is_a_pair(label, text):
    assert "must be KEY=VALUE" in label("--recover", text, code=2).stderr
    assert not Path("out.xyz.run").exists()


def test_what_is_too_heavy_goes_to_the_larger_executor_once(label):
    Path("mine.toml").write_text(SITE)
    said = label(heavy="0.5", reach="0.9", site="./mine.toml", code=1).stderr
    assert "3 frames ran out of memory; trying them on the executor large" in said
    assert len(frames()) == 5
    kinds = [unit.get("failure") for unit in units()]
    assert kinds.count("out-of-memory") == 3
    assert kinds.count("unconverged") == 1
    assert len(kinds) == 9


def test_an_unknown_larger_executor_is_said(label):
    Path("mine.toml").write_text(SITE.replace('on_oom = "large"', 'on_oom = "larger"'))
    assert "[executors.default] on_oom: there is no 'larger'" in label(site="./mine.toml", code=78).stderr


def test_labels_of_another_file_are_taken_over(label):
    label(reach="0.5", code=1)
    said = label("--from", "out.xyz", reach="0.5", output="again.xyz", code=1).stderr
    assert "reusing 3 labels from out.xyz" in said
    assert "(3 computed now)" in said
    assert Path("again.xyz").read_bytes() == Path("out.xyz").read_bytes()


def test_in_a_folder_that_was_moved_it_is_up_to_date(psiflow, tmp_path, monkeypatch):
    here, there = tmp_path / "here", tmp_path / "there" / "now"
    here.mkdir()
    there.parent.mkdir()
    monkeypatch.chdir(here)
    Path("in.xyz").write_text(copper(3))
    words = ("label", "in.xyz", "--reference", "emt", "-o", "out.xyz")
    psiflow(*words)
    here.rename(there)
    monkeypatch.chdir(there)
    assert "out.xyz is up to date" in psiflow(*words).stderr
    Path("out.xyz").unlink()
    assert "3 of 3 labelled (0 computed now)" in psiflow(*words).stderr
    assert "out.xyz is up to date" in psiflow(*words).stderr


def test_labels_of_another_reference_or_of_moved_atoms_are_not(label):
    label()
    assert "reusing 0 labels" in label("--from", "out.xyz", reach="3", output="other.xyz").stderr
    text = Path("out.xyz").read_text()
    assert "Cu 0.2 " in text
    Path("moved.xyz").write_text(text.replace("Cu 0.2 ", "Cu 0.25 ", 1))
    assert "reusing 5 labels" in label("--from", "moved.xyz", output="again.xyz").stderr
    assert "no such file" in label("--from", "none.xyz", output="third.xyz", code=66).stderr


def test_a_run_without_hope_stops_early_and_goes_on_if_asked_again(label):
    Path("in.xyz").write_text(copper(60, 1.0))
    said = label(reach="-1", code=65).stderr
    assert re.search(r"stopped: the first \d+ frames all failed in the same way: unconverged: only up to -1", said)
    first = len(units())
    assert 10 <= first < 60
    label(reach="-1", code=65)
    assert first < len(units()) <= 2 * first + 10
    label("--max-failed", "100%", reach="-1")
    assert len(units()) == 60


def test_one_success_is_hope(label):
    Path("in.xyz").write_text(copper(60, 1.0))
    label(reach="0.01", code=1)
    assert len(units()) == 60
