"""Back ends by folder: the file list is the registry, and names are read without importing."""

from __future__ import annotations

import importlib
import os
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Literal, overload

from psiflow_cli.errors import BadData, NoInput, UsageError, nearest

if TYPE_CHECKING:
    from psiflow_cli import protocols

_PROTOCOLS = {
    "models": "Model", "potentials": "Potential", "references": "Reference", "samplers": "Sampler",
    "runtime.providers": "Provider", "runtime.executors": "Executor",
}  # fmt: skip
"""The folders of back ends, and the Protocol that each of their modules satisfies."""
_own_files: set[str] = set()


def names(kind: str) -> list[str]:
    """Names of the back ends of one kind (a key of `_PROTOCOLS`), sorted."""
    entries = os.listdir(os.path.join(os.path.dirname(__file__), *kind.split(".")))
    return sorted(e.removesuffix(".py") for e in entries if e.endswith(".py") or "." not in e if not e.startswith("_"))


@overload
def load(kind: Literal["models"], name: str) -> protocols.Model: ...
@overload
def load(kind: Literal["potentials"], name: str) -> protocols.Potential: ...
@overload
def load(kind: Literal["references"], name: str) -> protocols.Reference: ...
@overload
def load(kind: Literal["samplers"], name: str) -> protocols.Sampler: ...
@overload
def load(kind: Literal["runtime.providers"], name: str) -> protocols.Provider: ...
@overload
def load(kind: Literal["runtime.executors"], name: str) -> protocols.Executor: ...
def load(kind: str, name: str) -> object:
    """Import a back end by name, or a user's own file by its path.

    Raises `UsageError` for a name nobody has, `NoInput` for a file that is not there, `BadData` for one that lacks
    something.
    """
    if name.endswith(".py"):
        module = _load_file(name)
    else:
        available = names(kind)
        if name not in available:
            raise UsageError(f"unknown {kind.rpartition('.')[2][:-1]} {name!r}", nearest(name, available))
        module = importlib.import_module(f"psiflow_cli.{kind}.{name}")
    protocol = _PROTOCOLS[kind]
    needed = members(protocol)
    for member in needed:
        if not hasattr(module, member):
            raise BadData(f"{name}:1: no {member}", f"a {protocol.lower()} needs {', '.join(needed)}")
    return module


def members(protocol: str) -> list[str]:
    """The names that a Protocol of `psiflow_cli.protocols` asks for, in the order in which they are written."""
    from psiflow_cli import protocols

    classes = reversed(getattr(protocols, protocol).__mro__)
    written = (name for each in classes for name in (*getattr(each, "__annotations__", {}), *vars(each)))
    return list(dict.fromkeys(name for name in written if not name.startswith("_")))


def families() -> list[str]:
    """The model families, each with an environment of its own: those that psiflow trains, and those it only runs.

    A sum and a Python file run in the environment of what they consist of.
    """
    return sorted([*names("models"), *(name for name in names("potentials") if name not in ("python", "sum"))])


def potential(name: str) -> protocols.Potential:
    """The model family of this name, or the other potential. Raises UsageError for a name nobody has."""
    own = name.endswith(".py") or name in names("potentials")
    return load("potentials", name) if own else load("models", name)


def family(name: str) -> protocols.BackEnd | None:
    """The potential or the reference of this name, as a site names what it runs."""
    if name in (*names("models"), *names("potentials")):
        return potential(name)
    return load("references", name) if name in names("references") else None


def _load_file(path: str) -> ModuleType:
    import importlib.util

    if not os.path.isfile(path):
        raise NoInput(f"{path}: no such file")
    spec = importlib.util.spec_from_file_location(os.path.basename(path).removesuffix(".py"), path)
    if spec is None or spec.loader is None:
        raise NoInput(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    _own_files.update([path, *beside(path)])
    if (folder := os.path.dirname(os.path.abspath(path))) not in sys.path:
        sys.path.append(folder)  # what lies beside it, it may import: see `beside`
    keeps_bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # nothing is left beside the user's file
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise own_fault(error) or BadData(f"{path}:1: {type(error).__name__}: {error}") from error
    finally:
        sys.dont_write_bytecode = keeps_bytecode
    return module


def beside(path: str) -> list[str]:
    """The Python files in the folder of the user's own file that it imports, anywhere in it, and those that they do."""
    import ast

    folder, imported, waiting = os.path.dirname(os.path.abspath(path)), set(), [os.path.abspath(path)]
    while waiting:
        try:
            with open(waiting.pop(), "rb") as stream:
                tree = ast.parse(stream.read())
        except (OSError, SyntaxError, ValueError):
            continue  # it is said when it is imported
        names: set[str] = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                names.add(node.module or "")
        for name in {name.partition(".")[0] for name in names} - {""}:
            package = os.path.join(folder, name)
            files = [f"{package}.py"] if os.path.isfile(f"{package}.py") else []
            if os.path.isfile(os.path.join(package, "__init__.py")):
                files = [
                    os.path.join(at, each) for at, _, all_ in os.walk(package) for each in all_ if each.endswith(".py")
                ]
            waiting += [file for file in files if file not in imported]
            imported.update(files)
    return sorted(imported - {os.path.abspath(path)})


def own_fault(error: BaseException) -> BadData | None:
    """The place in a file of the user's own where an exception came from, or None if it came from none."""
    import traceback

    hint = "fix the file: psiflow only runs it"
    if isinstance(error, SyntaxError) and _as_named(error.filename):
        return BadData(f"{_as_named(error.filename)}:{error.lineno or 1}: {error.msg}", hint)
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if _as_named(frame.filename):
            return BadData(f"{_as_named(frame.filename)}:{frame.lineno}: {type(error).__name__}: {error}", hint)
    return None


def _as_named(file: str | None) -> str:
    """A file of the user's own as the user calls it, or ""."""
    return next((path for path in _own_files if file and os.path.abspath(path) == os.path.abspath(file)), "")
