"""The documentation as a site: it builds without a warning, its links lead somewhere, every command has its page."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from psiflow_cli.commands.catalogue import SECTIONS
from tests.conftest import ROOT

COMMANDS = [name for title, section in SECTIONS.items() if title for name in section]


def test_every_command_has_its_page() -> None:
    assert {page.stem for page in (ROOT / "docs" / "commands").glob("*.md")} == set(COMMANDS)


def test_it_builds(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="needs the extra dev")
    command = [sys.executable, "-m", "mkdocs", "build", "-f", str(ROOT / "mkdocs.yml"), "-d", str(tmp_path / "site")]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr, done.stderr
    for name in COMMANDS:
        page = (tmp_path / "site" / "commands" / name / "index.html").read_text(encoding="utf-8")
        assert f"Usage: psiflow {name}" in page
