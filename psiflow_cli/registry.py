"""Back ends by folder: the file list is the registry, and names are read without importing."""

from __future__ import annotations

import importlib
import os
import sys
from types import ModuleType

from psiflow_cli.errors import BadData, NoInput, UsageError, nearest

KINDS = ("models", "references", "samplers", "runtime.providers", "runtime.executors")
NEEDED = ("SUMMARY", "REQUIRES", "FRAME_INPUTS", "DEFAULT_TASK_SECONDS", "settings", "check", "label")
"""What a reference of the user's own must have; see `psiflow_cli.seams.Reference`."""
_own_files: set[str] = set()


def names(kind: str) -> list[str]:
    """Names of the back ends of one kind (see `KINDS`), sorted."""
    entries = os.listdir(os.path.join(os.path.dirname(__file__), *kind.split(".")))
    return sorted(e.removesuffix(".py") for e in entries if e.endswith(".py") or "." not in e if not e.startswith("_"))


def load(kind: str, name: str) -> ModuleType:
    """Import a back end by name, or a user's own file by its path.

    Raises `UsageError` for a name nobody has and `NoInput` for a file that is not there.
    """
    if name.endswith(".py"):
        return _load_file(name)
    known = names(kind)
    if name not in known:
        raise UsageError(f"unknown {kind.rpartition('.')[2][:-1]} {name!r}", nearest(name, known))
    return importlib.import_module(f"psiflow_cli.{kind}.{name}")


def _load_file(path: str) -> ModuleType:
    import importlib.util

    if not os.path.isfile(path):
        raise NoInput(f"{path}: no such file")
    spec = importlib.util.spec_from_file_location(os.path.basename(path).removesuffix(".py"), path)
    if spec is None or spec.loader is None:
        raise NoInput(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    _own_files.add(path)
    keeps_bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # nothing is left beside the user's file
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise own_fault(error) or BadData(f"{path}:1: {type(error).__name__}: {error}") from error
    finally:
        sys.dont_write_bytecode = keeps_bytecode
    for name in NEEDED:
        if not hasattr(module, name):
            raise BadData(f"{path}:1: no {name}", "a reference has " + ", ".join(NEEDED))
    return module


def own_fault(error: BaseException) -> BadData | None:
    """The place in a file of the user's own where an exception came from, or None if it came from none."""
    import traceback

    hint = "mend the file: psiflow only runs it"
    if isinstance(error, SyntaxError) and _said(error.filename):
        return BadData(f"{_said(error.filename)}:{error.lineno or 1}: {error.msg}", hint)
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if _said(frame.filename):
            return BadData(f"{_said(frame.filename)}:{frame.lineno}: {type(error).__name__}: {error}", hint)
    return None


def _said(file: str | None) -> str:
    """A file of the user's own as the user calls it, or ""."""
    return next((path for path in _own_files if file and os.path.abspath(path) == os.path.abspath(file)), "")
