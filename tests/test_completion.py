"""Completion as the shells ask for it, and in a real bash."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.commands.inputs import PSIFLOW


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two bundles and two runs, and what is neither."""
    monkeypatch.chdir(tmp_path)
    for name in ("water.model", "round-1/committee.model", "round-1/deep/er/still/too.model"):
        Path(name).mkdir(parents=True)
        Path(name, "model.toml").touch()
    for name in ("labels.xyz.run", "round-1/train.run"):
        Path(name).mkdir(parents=True)
        Path(name, "run.json").touch()
    Path("start.xyz").touch()
    return tmp_path


def complete(*words):
    """What bash is told: (kind, text) of each."""
    environment = {**os.environ, "_PSIFLOW_COMPLETE": "bash_complete", "COMP_CWORD": str(len(words))}
    environment["COMP_WORDS"] = " ".join(["psiflow", *words])
    done = subprocess.run([PSIFLOW], env=environment, capture_output=True, text=True, check=True)
    return [tuple(line.split(",", 1)) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("rel",), ["relax"]),
        (("sample", "--temp"), ["--temperature"]),
        (("select", "x.xyz", "--by", "far"), ["farthest"]),
        (("label", "x.xyz", "--site", "hor"), ["hortense"]),
        (("site", "show", "lum"), ["lumi"]),
        (("train", "x.xyz", "--arch", "al"), ["allegro"]),
        (("label", "x.xyz", "--reference", "cp"), ["cp2k"]),
        (("label", "x.xyz", "--reference", "wat"), ["water.model"]),
        (("sample", "x.xyz", "--model", "w"), ["water.model"]),
        (("sample", "x.xyz", "--model", "round-1/"), ["round-1/committee.model"]),
        (("model", "show", ""), ["round-1/committee.model", "water.model"]),
        (("status", "l"), ["labels.xyz.run"]),
        (("cancel", "round"), ["round-1/train.run"]),
        (("clean", "./lab"), ["labels.xyz.run"]),
    ],
)
def test_names_that_are_known(folder, words, wanted):
    assert complete(*words) == [("plain", name) for name in wanted]


@pytest.mark.parametrize(
    "words", [("label", "st"), ("label", "x.xyz", "-o", "st"), ("sample", "--model", "st"), ("label", "--site", "./st")]
)
def test_anything_else_is_a_file(folder, words):
    assert complete(*words) == [("file", words[-1])]


def test_a_folder_is_one(folder):
    assert complete("label", "x.xyz", "--run-dir", "ro") == [("dir", "ro")]


def test_bash_itself(folder):
    script = """
eval "$(_PSIFLOW_COMPLETE=bash_source psiflow)"
COMP_WORDS=(psiflow sample start.xyz --model wa) COMP_CWORD=4 COMPREPLY=()
_psiflow_completion psiflow
printf "%s\\n" "${COMPREPLY[@]}"
complete -p psiflow
"""
    path = f"{Path(PSIFLOW).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script], env={**os.environ, "PATH": path}, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[0] == "water.model"
    assert "_psiflow_completion psiflow" in done.stdout


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_take_the_script(shell, tmp_path):
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    environment = {**os.environ, "_PSIFLOW_COMPLETE": f"{shell}_source"}
    script = subprocess.run([PSIFLOW], env=environment, capture_output=True, text=True, check=True).stdout
    (tmp_path / "script").write_text(script)
    assert "psiflow" in script
    subprocess.run([shell, "-n", str(tmp_path / "script")], check=True)
