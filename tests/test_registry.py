"""What a user's own file imports of the files beside it is found, counts as a part of it, and can be imported."""

from __future__ import annotations

from pathlib import Path

import pytest

from psiflow_cli import registry
from psiflow_cli.stages.label.method import Method
from psiflow_cli.worker.pool import call

MINE = """
import os
SUMMARY, REQUIRES, FRAME_INPUTS, DEFAULT_TASK_SECONDS = "", (), (), 0.0
def settings(input_file, options): return {}
def check(settings, elements): pass
def label(frames, settings, context):
    from own_helper import value
    return value
"""


def test_files_beside_a_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path / "nowhere")
    package = tmp_path / "own_package"
    package.mkdir()
    files = {
        tmp_path / "mine.py": MINE, tmp_path / "own_helper.py": "import own_package.part as part\nvalue = part.value\n",
        package / "__init__.py": "", package / "part.py": "value = 1\n", tmp_path / "other.py": "never imported",
    }  # fmt: skip
    for path, text in files.items():
        path.write_text(text)
    mine = str(tmp_path / "mine.py")
    assert registry.beside(mine) == sorted(map(str, [tmp_path / "own_helper.py", *package.iterdir()]))
    method = Method(mine, registry.load("references", mine), {})
    before = method.fingerprint
    (package / "part.py").write_text("value = 2\n")
    assert Method(mine, method.module, {}).fingerprint != before
    assert call.resolve(f"{mine}:label")([], {}, {}) == 2
    assert {path.name for path in tmp_path.iterdir()} == {"mine.py", "own_helper.py", "own_package", "other.py"}
