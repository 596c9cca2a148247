"""Back ends by folder: the file list is the registry, and names are read without importing."""

from __future__ import annotations

import importlib
import os
from types import ModuleType

from psiflow_cli.errors import NoInput, UsageError, nearest

KINDS = ("models", "references", "samplers", "runtime.providers", "runtime.executors")


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
    spec.loader.exec_module(module)
    return module
