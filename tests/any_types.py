"""Which signatures of a package hold `Any`, or an alias of something with `Any` in it, wherever that was made."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

Trees = Mapping[Path, ast.Module]
Name = tuple[str, str]
"""A module and a name at its top; the name is empty for the module itself."""
ANY: Name = ("typing", "Any")


def share(trees: Trees, package: Path) -> tuple[float, list[tuple[Path, int, int]]]:
    """The share of annotated signatures with `Any`, and the files that have any: how many, of how many; most first."""
    names = {file: _bound(tree, package.parent) for file, tree in trees.items()}
    loose = _loose_aliases(trees, names, package.parent)
    counts = []
    for file, tree in trees.items():
        signatures = [each for node in ast.walk(tree) if (each := _annotations(node))]
        with_any = sum(any(_holds_any(each, names[file], loose) for each in signature) for signature in signatures)
        counts.append((file, with_any, len(signatures)))
    every = sum(of for _, _, of in counts)
    found = sum(count for _, count, _ in counts)
    return found / max(every, 1), sorted((each for each in counts if each[1]), key=lambda each: -each[1])


def assigned(node: ast.stmt) -> list[str]:
    """The names that a statement assigns to."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _annotations(node: ast.AST) -> list[ast.expr]:
    if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return []
    arguments = node.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    return [each for each in (*(a.annotation for a in named if a), node.returns) if each]


def _top(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a module, those under `if TYPE_CHECKING` included."""
    for node in body:
        yield node
        if isinstance(node, ast.If):
            yield from _top(node.body)


def _module(file: Path, root: Path) -> str:
    return ".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def _bound(tree: ast.Module, root: Path) -> dict[str, Name]:
    """What the imported names of a file are, wherever they are imported in it."""
    bound: dict[str, Name] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            bound |= {alias.asname or alias.name: (alias.name, "") for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            folder = root.joinpath(*node.module.split("."))
            for alias in node.names:
                if alias.name == "*":
                    bound[f"* {node.module}"] = (node.module, "*")
                    continue
                inner = (folder / alias.name).is_dir() or (folder / f"{alias.name}.py").is_file()
                found = (f"{node.module}.{alias.name}", "") if inner else (node.module, alias.name)
                bound[alias.asname or alias.name] = found
    return bound


def _loose_aliases(trees: Trees, names: dict[Path, dict[str, Name]], root: Path) -> set[Name]:
    """All names at the top of a module that stand for something with `Any` in it, `Any` itself included."""
    loose = {ANY}
    before = 0
    while len(loose) > before:  # an alias of an alias takes another round
        before = len(loose)
        for file, tree in trees.items():
            module = _module(file, root)
            loose |= {(module, name) for name, found in names[file].items() if found in loose}
            stars = {owner for owner, name in names[file].values() if name == "*"}
            loose |= {(module, name) for owner, name in loose if owner in stars}
            names[file] |= {
                name: (module, name) for owner, name in loose if owner == module and name not in names[file]
            }
            for node in _top(tree.body):
                value = getattr(node, "value", None)
                if assigned(node) and value and _holds_any(value, names[file], loose):
                    loose |= {(module, name) for name in assigned(node)}
    return loose


def _holds_any(annotation: ast.expr, names: dict[str, Name], loose: set[Name]) -> bool:
    for node in ast.walk(annotation):
        written = node.value if isinstance(node, ast.Constant) else getattr(node, "id", None)  # "Name", or Name
        if isinstance(written, str) and names.get(written) in loose:
            return True
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module, name = names.get(node.value.id, ("", ""))
            if not name and (module, node.attr) in loose:
                return True
    return False
