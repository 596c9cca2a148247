"""A Python file of the user's own, as far as its text tells: nothing of it is run."""

from __future__ import annotations

import ast
import os
from pathlib import Path

from psiflow_cli import registry
from psiflow_cli.errors import BadData, NoInput
from psiflow_cli.potentials.python import FUNCTIONS

_LOGS = (".log", ".out")


def functions(path: Path) -> set[str]:
    """The names that the file defines or imports at its top. Raises NoInput, or BadData for what is no Python."""
    names: set[str] = set()
    waiting: list[ast.stmt] = list(_tree(path).body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names.update(alias.asname or alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names.update(target.id for target in targets if isinstance(target, ast.Name))
        elif isinstance(node, (ast.If, ast.Try, ast.With)):
            waiting += [child for child in ast.walk(node) if isinstance(child, ast.stmt) and child is not node]
    return names


def is_reference(path: Path) -> bool:
    """Whether it labels frames itself, as `psiflow label --reference` has it."""
    there = functions(path)
    return "label" in there and not there & set(FUNCTIONS)


def parts(path: Path) -> list[str]:
    """The absolute paths of what belongs to the file: the modules beside it that it imports, and the data they name.

    A text in one of them that is the name of a file, from the folder of `path` or absolute, names data.
    """
    folder = str(path.parent.absolute())
    modules = registry.beside(str(path))
    data: set[str] = set()
    for module in (str(path.absolute()), *modules):
        for node in ast.walk(_tree(Path(module))):
            text = node.value if isinstance(node, ast.Constant) else None
            if isinstance(text, str) and 0 < len(text) < 1000 and "\0" not in text and not text.endswith(_LOGS):
                place = os.path.normpath(os.path.join(folder, text))
                if os.path.isfile(place):
                    data.add(place)
    return sorted(data - {str(path.absolute())} | set(modules))


def _tree(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_bytes(), str(path))
    except OSError as error:
        raise NoInput(f"{path}: {error.strerror}", "check its name and the working directory") from None
    except SyntaxError as error:
        raise BadData(f"{path}:{error.lineno or 1}: {error.msg}", "fix the file: psiflow only runs it") from None
    except ValueError as error:  # null bytes
        raise BadData(f"{path}:1: {error}", "is this a Python file?") from None
