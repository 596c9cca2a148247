"""PLUMED's input, and the files that it names: their text goes to the workers, and is a part of the settings."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from psiflow_cli.errors import NoInput

_READS = re.compile(r"(?:REFERENCE|REF|STRUCTURE|TEMPLATE|CONFIG|NDX_FILE|PARAMETERS_FILE)\d*")
"""Keys whose value is a file that is read, whatever the action."""
_READERS = ("INCLUDE", "EXTERNAL", "READ", "LOAD")
"""Actions whose FILE is read; that of others is written."""
_LIBRARIES = (".so", ".dylib")
_HINT = "relative paths are taken from the folder of --plumed"


def read(path: str) -> tuple[str, dict[str, str]]:
    """The text of an input, and that of each file that it or an included file reads, by the name that it has there.

    A file that is not below the input's folder is sent along, too, under a name that takes the place of its path.
    Raises NoInput for a file that is not there or is no text.
    """
    files: dict[str, str] = {}
    return _prepared(path, Path(path).parent, files, {}), files


def _prepared(source: str, folder: Path, files: dict[str, str], elsewhere: dict[str, str]) -> str:
    """The text of an input; `files` gets what it reads, `elsewhere` the names of what is not below the folder."""
    text = _text(source)
    lines = text.splitlines(keepends=True)
    for number, action, given in _named(text):
        file = folder / given  # PLUMED takes paths from where it runs, also those in an included file
        if not file.is_file():
            raise NoInput(f"{source}:{number}: {given}: no such file", _HINT)
        if action == "LOAD" and file.is_absolute() and file.suffix in _LIBRARIES:
            continue  # it cannot be sent as text: workers load it from where it is
        name = given
        if os.path.isabs(given) or ".." in Path(given).parts:
            new = f"elsewhere/{len(elsewhere) + 1}-{file.name}"
            name = elsewhere.setdefault(os.path.abspath(file), new)
            path = re.compile(rf"(?<==){re.escape(given)}(?![^\s#])")
            lines[number - 1] = name.join(path.split(lines[number - 1]))
        if name not in files:
            files[name] = ""  # a file that includes itself is PLUMED's to refuse
            files[name] = _prepared(str(file), folder, files, elsewhere) if action == "INCLUDE" else _text(str(file))
    return "".join(lines)


def _named(text: str) -> Iterator[tuple[int, str, str]]:
    """(line, action, file) of each file that an input reads."""
    action = ""
    for number, line in enumerate(text.splitlines(), 1):
        words = re.sub(r"^\s*[^\s=]+:\s", "", line.partition("#")[0]).split()
        if words and words[0] == "...":
            action = ""
            continue
        if words and not action:
            action = words[0].upper()
        for key, _, name in (word.partition("=") for word in words):
            if name and (_READS.fullmatch(key.upper()) or (key.upper() == "FILE" and action in _READERS)):
                yield number, action, name
        if not (words and words[-1] == "...") and not _continues(action, words):
            action = ""


def _continues(action: str, words: list[str]) -> bool:
    """Whether a line is one of several between `ACTION ...` and `... ACTION`."""
    return bool(action and words and words[0].upper() != action)


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise NoInput(f"{path}: not UTF-8 text (byte {error.start})", "name a file of PLUMED's") from None
    except OSError as error:
        raise NoInput(f"{path}: {error.strerror or error}", "name a file of PLUMED's") from None
