"""The manual pages say what the commands say, and render without warnings."""

from __future__ import annotations

import runpy
import shutil
import subprocess

import pytest

pytest.importorskip("click_man", reason="needs the extra dev")


def test_the_pages_are_those_of_the_commands(root):
    made = runpy.run_path(str(root / "man" / "generate.py"))["pages"]()
    there = {path.name: path.read_text() for path in (root / "man").glob("*.1")}
    assert there == made, "run: python man/generate.py"


@pytest.mark.skipif(not shutil.which("mandoc"), reason="mandoc is not installed")
def test_the_pages_render_without_warnings(root):
    pages = sorted((root / "man").glob("*.[1-9]"))
    assert len(pages) > 10
    for page in pages:
        done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", str(page)], capture_output=True, text=True)
        assert done.stdout == "", done.stdout
