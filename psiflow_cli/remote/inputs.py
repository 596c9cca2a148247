"""Which files a command reads: those that its options name, and those that these name in turn."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from psiflow_cli import formats
from psiflow_cli.errors import NoInput

_MOST_TEXT = 1 << 20
"""Bytes; a longer file is data, and names no other."""
_MOST_FILES = 1000
_WORD = re.compile(r"[^\s\"'`,;=(){}\[\]<>|!#]+")


def gather(names: Iterable[str]) -> list[str]:
    """The absolute paths of all that is to be sent; raises NoInput for what is no file, such as a pipe."""
    paths: dict[str, None] = {}
    waiting = [absolute(name) for name in names]
    while waiting:
        path = waiting.pop()
        if path in paths:
            continue
        if os.path.isdir(path):
            _check_folder(path)
        else:
            _check(path)
            waiting += _named(Path(path))
        paths[path] = None
    inside = [path for path in paths if any(path.startswith(f"{other}/") for other in paths)]
    return sorted(paths.keys() - inside)


def absolute(path: str) -> str:
    """The whole path; `..` behind a symbolic link leads to where that points."""
    if "/../" in path.lstrip("./"):
        folder, name = os.path.split(path)
        return os.path.join(os.path.realpath(folder), name)
    return os.path.abspath(path)


def _check(path: str) -> None:
    if not os.path.isfile(path):
        raise NoInput(f"{path}: is not a regular file and cannot be sent", "store it in a file, or use - for stdin")
    if not os.access(path, os.R_OK):
        raise NoInput(f"{path}: no permission to read it", "make it readable with chmod u+r")


def _check_folder(path: str) -> None:
    """A folder that was named by mistake, such as a home, is not sent."""
    files = 0
    for _, _, names in os.walk(path):
        files += len(names)
        if files > _MOST_FILES and not is_bundle(path):
            raise NoInput(
                f"{path}: a folder of more than {_MOST_FILES} files is not sent", "give only the files that are needed"
            )


def is_bundle(path: str) -> bool:
    return os.path.isfile(os.path.join(path, "model.toml"))


def _named(path: Path) -> Iterator[str]:
    """The files that a text names, from beside it or the working directory, or in a folder that it names as well."""
    recover = path.with_suffix(".recover.toml")  # what `label` looks for beside an input
    if recover.is_file():
        yield str(recover)
    if formats.is_text(str(path)) or path.stat().st_size > _MOST_TEXT:
        return
    try:
        words = set(_WORD.findall(path.read_text(encoding="utf-8")))
    except UnicodeDecodeError:
        return
    words = {word.rstrip(".:/") for word in words} | {word for word in words if not word.endswith("/")}
    if path.suffix == ".py":  # a module beside it
        words |= {f"{word}.py" for word in words}
    words = {word for word in words if not os.path.isabs(word)}  # such a path in a text is one there, as it stands
    folders = [str(path.parent), os.getcwd()]
    for word in words:
        for folder in folders[:2]:
            place = os.path.join(folder, word)
            if set(word) - set("./") and os.path.isdir(place):
                folders.append(place)
                if is_bundle(place):
                    yield os.path.abspath(place)
    for word in words:
        for folder in folders:
            if len(word) < 256 and os.path.isfile(place := os.path.join(folder, word)):
                yield os.path.abspath(place)
