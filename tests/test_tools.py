"""The files that other programs read: what they say is so."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

import psiflow_cli

GOOD = ["samplers: type the jobs and reports", "stages, worker: move into rooms", "README: say why", "a: " + "b" * 69]
PASSED = ["Merge branch 'x'", 'Revert "Whatever it was"', "fixup! samplers: type the jobs"]
BAD = ["Type the jobs", "samplers: ", "samplers type: the jobs", "samplers: type the jobs.", "a: " + "b" * 70, ""]


@pytest.mark.parametrize("subject", GOOD + PASSED + BAD)
def test_a_subject_has_an_area_and_is_short(root: Path, tmp_path: Path, subject: str) -> None:
    message = tmp_path / "message"
    message.write_text(f"{subject}\n\nAs long as it takes: {'x' * 100}.\n", encoding="utf-8")
    done = subprocess.run([root / "tests" / "commit_subject.sh", message], capture_output=True, text=True)
    assert (done.returncode == 0) == (subject not in BAD), done.stderr


def test_hooks_need_no_network(root: Path) -> None:
    config = yaml.safe_load((root / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert [each["repo"] for each in config["repos"]] == ["local"]
    assert {hook["language"] for hook in config["repos"][0]["hooks"]} == {"system"}


def test_the_citation_is_of_this_version(root: Path) -> None:
    citation = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == psiflow_cli.__version__
