"""The manual pages say what the commands say, and render without warnings."""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess

import pytest

from psiflow_cli import errors, extxyz
from psiflow_cli.worker import guard

pytest.importorskip("click_man", reason="needs the extra dev")


def test_the_pages_are_those_of_the_commands(root):
    made = runpy.run_path(str(root / "man" / "generate.py"))["pages"]()
    there = {path.name: path.read_text() for path in (root / "man").glob("*.1")}
    assert there == made, "run: python man/generate.py"


def test_the_page_of_files_names_what_is_in_them(root):
    """Keys of frames, classes of failures, exit codes, and what is in run directories and bundles."""
    page = (root / "man" / "psiflow-files.7").read_text().replace("\\-", "-")
    words = set(re.findall(r"[\w.-]+", re.sub(r"\\f[BIRP]", " ", page)))
    keys = {*extxyz.PREDICTIONS, *extxyz.PROVENANCE, *(name for names in extxyz.CANDIDATES.values() for name in names)}
    assert keys - words == set()
    assert set(guard.FAILURES) - words == set()
    codes = {value for name, value in vars(errors).items() if name.isupper() and isinstance(value, int)}
    assert {0, *codes} == set(map(int, re.findall(r"^\.B (\d+)$", page, re.MULTILINE)))
    for file in ("worker/record.py", "stages/relax.py", "stages/phonons.py"):
        source = (root / "psiflow_cli" / file).read_text()
        found = set(re.findall(r"info\[\"(\w+)\"\]", source)) | set(re.findall(r"columns\[\"(\w+)\"\]", source))
        assert found, file
        assert found - {"Lattice", "charge", "multiplicity"} - words == set(), file


@pytest.mark.skipif(not shutil.which("mandoc"), reason="mandoc is not installed")
def test_the_pages_render_without_warnings(root):
    pages = sorted((root / "man").glob("*.[1-9]"))
    assert len(pages) > 10
    for page in pages:
        done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", str(page)], capture_output=True, text=True)
        assert done.stdout == "", done.stdout
