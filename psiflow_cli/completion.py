"""What a shell completes: by its placeholder in the help, every argument gets its site names, bundles, runs or files.

click makes the scripts, if _PSIFLOW_COMPLETE asks for them: see `psiflow --help`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import chain, islice
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from psiflow_cli import registry

DEPTH = 3
"""So many folders deep are bundles and runs looked for."""
_MOST = 200


def _sites(begun: str) -> Iterator[str]:
    from psiflow_cli.site import load

    return (name for name in load.available() if name.startswith(begun))


def _named(kind: str) -> Callable[[str], Iterator[str]]:
    """The names of a kind of back end."""
    return lambda begun: (name for name in registry.names(kind) if name.startswith(begun))


def _folders(sign: str) -> Callable[[str], Iterator[str]]:
    """Folders with a file of this name; nothing inside one is looked at."""

    def paths(begun: str) -> Iterator[str]:
        begun = os.path.normpath(begun) + "/" * begun.endswith("/") if begun else ""
        top = os.path.dirname(begun)
        for folder, below, files in os.walk(top or "."):
            inside = os.path.relpath(folder, top or ".")
            path = os.path.normpath(os.path.join(top, inside))
            if sign in files and path.startswith(begun):
                yield path
            ends = sign in files or len(Path(inside).parts) >= DEPTH
            below[:] = [] if ends else sorted(name for name in below if not name.startswith("."))

    return paths


class _Completed(click.types.StringParamType):
    """Text that a shell can complete: with what is known and begins so, else with files."""

    def __init__(self, *sources: Callable[[str], Iterator[str]]) -> None:
        self._sources = sources

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """See click."""
        names = chain.from_iterable(source(incomplete) for source in self._sources)
        return [CompletionItem(name) for name in islice(names, _MOST)] or [CompletionItem(incomplete, type="file")]


_FILES = _Completed()
_BUNDLES = _folders("model.toml")
_TYPES: dict[str, click.ParamType[object]] = {
    "NAME|FILE": _Completed(_sites),
    "[NAME]": _Completed(_sites),
    "BUNDLE": _Completed(_BUNDLES),
    "BUNDLE|FILE": _Completed(_BUNDLES),
    "[RUN]...": _Completed(_folders("run.json")),
    "FAMILY": _Completed(_named("models")),
    "NAME|FILE.py|BUNDLE": _Completed(_named("references"), _BUNDLES),
    **dict.fromkeys(("DIR", "[DIR]"), click.Path(file_okay=False)),
    **dict.fromkeys(
        ("FRAMES...", "[FRAMES]...", "FILE", "FILE.npz", "FILE.png", "FILE|DICT|average", "FILE|SHARE",
         "FILES...", "FILE|NAME", "ERRORS.json...", "PROGRAM"),
        _FILES,
    ),
}  # fmt: skip
"""By the placeholder."""


def teach(command: click.Command) -> None:
    """Give the parameters of a command, and of those below it, the types that complete them."""
    for param in command.params:
        placeholder = param.make_metavar(click.Context(command))
        if isinstance(param.type, (click.types.StringParamType, click.Path)) and placeholder in _TYPES:
            param.type = _TYPES[placeholder]
    for below in getattr(command, "commands", {}).values():
        teach(below)
