"""The manual pages say what the commands say, and render without warnings."""

from __future__ import annotations

import ast
import re
import runpy
import shutil
import subprocess

import pytest

from psiflow_cli import errors, extxyz
from psiflow_cli.worker import failures

pytest.importorskip("click_man", reason="needs the extra dev")


def test_the_pages_are_those_of_the_commands(root):
    made = runpy.run_path(str(root / "man" / "generate.py"))["pages"]()
    there = {path.name: path.read_text() for path in (root / "man").glob("*.1")}
    assert there == made, "run: python man/generate.py"
    for section in ("EXAMPLES", "EXIT STATUS"):
        assert [name for name, page in there.items() if f".SH {section}" not in page] == []


def test_the_page_of_files_names_what_is_in_them(root):
    """Keys of frames, classes of failures, exit codes, and what is in run directories and bundles."""
    page = (root / "man" / "psiflow-files.7").read_text().replace("\\-", "-")
    words = set(re.findall(r"[\w.-]+", re.sub(r"\\f[BIRP]", " ", page)))
    keys = {*extxyz.PREDICTIONS, *extxyz.PROVENANCE, *(name for names in extxyz.CANDIDATES.values() for name in names)}
    assert keys - words == set()
    assert set(failures.FAILURES) - words == set()
    codes = {value for name, value in vars(errors).items() if name.isupper() and isinstance(value, int)}
    assert {0, *codes} == set(map(int, re.findall(r"^\.B (\d+)$", page, re.MULTILINE)))
    written = {name for path in (root / "psiflow_cli").rglob("*.py") for name in _written(path)}
    assert {"walker", "bead", "relax_steps", "stop_kind", "dipole", "frequencies", "config_type"} <= written
    # of the structure; and what goes into the checkpoint of a walker
    assert written - {"Lattice", "pos", "plumed", "conditions_of", "trials"} - words == set()


def _written(path):
    """The keys of dictionaries that a file calls `info`, `columns` and the like: what it writes into frames."""
    called = {"info", "columns", "why", "more", "PROPERTIES"} if "stages/units" not in str(path) else set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                if isinstance(target, ast.Subscript) and _name(target.value) in called - {"more"}:
                    yield from _texts([target.slice])
                if _name(target) in called and isinstance(node.value, ast.Dict):
                    for inner in _dicts(node.value):
                        yield from _texts(inner.values if _name(target) == "PROPERTIES" else inner.keys)
        if isinstance(node, ast.keyword) and node.arg in ("set_info", "set_columns", "more"):
            for inner in _dicts(node.value):
                yield from _texts(inner.keys)


def _dicts(node):
    return [inner for inner in ast.walk(node) if isinstance(inner, ast.Dict)]


def _name(node):
    return node.id if isinstance(node, ast.Name) else ""


def _texts(nodes):
    return [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]


@pytest.mark.skipif(not shutil.which("mandoc"), reason="mandoc is not installed")
def test_the_pages_render_without_warnings(root):
    pages = sorted((root / "man").glob("*.[1-9]"))
    assert len(pages) > 10
    for page in pages:
        done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", str(page)], capture_output=True, text=True)
        assert done.stdout == "", done.stdout
