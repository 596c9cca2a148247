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
_HINT = "name files beside the input, or below its folder"


def read(path: str) -> tuple[str, dict[str, str]]:
    """The text of an input, and of each file that it or an included file names by a path below its folder.

    Raises NoInput for a file that is not there, or that cannot be sent along.
    """
    folder, files = Path(path).parent, dict[str, str]()
    text, waiting = _text(path), [(path, _text(path))]
    while waiting:
        source, lines = waiting.pop()
        for number, action, name in _named(lines):
            if name in files or os.path.isabs(name):
                continue
            if ".." in Path(name).parts or not (folder / name).is_file():
                raise NoInput(f"{source}:{number}: {name}: no such file beside {path}", _HINT)
            files[name] = _text(str(folder / name))
            if action == "INCLUDE":
                waiting.append((str(folder / name), files[name]))
    return text, files


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
