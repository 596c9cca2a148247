"""The files that PLUMED's input names: workers get those that it reads, a walker's folder those that it writes.

Which keywords name files is taken from the sources of PLUMED 2.9 and 2.10.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from psiflow_cli.errors import BadData, NoInput
from psiflow_cli.worker.md.plumed.actions import DEFAULT_FILES, Action, Word, parse

_READS = re.compile(
    r"(?:REFERENCE_?|REF|REF_FILE|STRUCTURE|TEMPLATE|CONFIG|NDX_FILE|PARAMETERS_FILE|CLUSTERS|FILE_F)\d*|\w*_RFILES?"
    r"|IN_RESTART|INITIAL_COEFFS|COEFFS_INPUT|DELTAGFILE|GMM_FILE|ERR_FILE|OV_FILE|ATOM_NAMES_FILE|HILLSFILES|HISTOFILES"
)
"""Keys whose value is a file that is read, whatever the action."""
_READS_OF = {
    "PCARMSD": ("AVERAGE", "EIGENVECTORS"),
    "METAD": ("TARGET",),
    "READ_DISSIMILARITY_MATRIX": ("FILE", "WFILE"),
    **dict.fromkeys(
        ("INCLUDE", "EXTERNAL", "READ", "LOAD", "FUNNEL", "ECV_UMBRELLAS_FILE", "TD_GRID", "CALIBER", "PYTORCH_MODEL",
         "REFERENCE_GRID", "PLUMED"),
        ("FILE",),
    ),
}  # fmt: skip
"""Keys of some actions that name a file that is read; FILE of the others is written."""
_NUMBERS = ("ALPHABETA", "CONTACTMAP")
"""Actions whose REFERENCE is a number."""
_WRITES = re.compile(
    r"FILE|\w*_WFILES?|OUT_RESTART|OUT_OBSERVABLE|OUTHILLS|OUTHISTO|BFILE|FILE_(?:VALUES|DERIVS|TARGETDIST\w*)"
    r"|(?:STATUS|COEFFS|GRADIENT|HESSIAN|BIAS|FES|TARGETDIST|LOG_TARGETDIST|TARGETDIST_AVERAGES|ALPHA)_FILE"
)
"""Keys whose value is a file that is written."""
_OWN = ("plumed.dat", "plumed.log")
_REPLICAS = "@replicas:"
_BELOW = "relative paths are taken from the folder of --plumed"


@dataclass
class _Input:
    folder: Path
    files: dict[str, str] = field(default_factory=dict)
    """Text of each file that is read, by its name in the texts."""
    elsewhere: dict[str, str] = field(default_factory=dict)
    """The names of those that are not below the folder, by path."""
    binaries: dict[str, str] = field(default_factory=dict)
    """The sha256 of each file that is no text, by path: workers read it from where it is."""
    written: dict[str, str] = field(default_factory=dict)
    """Where each file that is written is named."""
    open: tuple[str, ...] = ()
    """The files that are included at this place."""


def read(path: str) -> tuple[str, dict[str, str]]:
    """The text of an input, and that of each file that it or an included file reads, by the name that it has there.

    A file that is not below the input's folder is sent along, too, under a name that takes the place of its path.
    Raises NoInput for a file that is not there, and BadData for what no walker could write, both with file and line.
    """
    if not os.path.exists(path):
        raise NoInput(f"{path}: no such file", "--plumed takes a PLUMED input file")
    content = _Input(Path(path).parent)
    text = _prepared(path, content)
    for name in sorted(content.written.keys() & content.files.keys()):
        raise BadData(f"{content.written[name]}: {name} is also read", "write to another file")
    notes = [f"# sha256 of {name}: {digest}\n" for name, digest in sorted(content.binaries.items())]
    return text + ("\n" if notes and not text.endswith("\n") else "") + "".join(notes), content.files


def placed(path: str, folder: Path | None = None, opened: tuple[str, ...] = ()) -> Iterator[tuple[str, Action]]:
    """(file:line, action) of all that an input has, with what it includes in its place."""
    folder = folder or Path(path).parent
    for action in parse(_text(path), path):
        if action.name != "INCLUDE":
            yield f"{path}:{action.line}", action
        elif (inner := str(folder / action.get("FILE"))) not in (path, *opened):
            yield from placed(inner, folder, (*opened, path))


def _prepared(source: str, content: _Input) -> str:
    """The text of an input, with other names for what is elsewhere; `content` gets what it reads and writes."""
    text, changes = _text(source), []
    for action in parse(text, source):
        for word in action.words:
            where = f"{source}:{word.line}"
            if word.value.startswith(_REPLICAS):
                problem = f"{where}: {word.text}: PLUMED's own replicas work only within one MPI run"
                raise BadData(problem, "give each walker its value with --vary")
            if word.key.startswith("WALKERS_") and word.key != "WALKERS_RSTRIDE":
                raise BadData(
                    f"{where}: {word.text}: psiflow sets the walkers itself",
                    "use --share-bias to let the walkers share a bias",
                )
            if _is_read(action.name, word.key, word.value):
                names = [_staged(name, where, action, word.key, content) for name in word.value.split(",")]
                if names != word.value.split(","):
                    changes.append((word, ",".join(names)))
            elif _WRITES.fullmatch(word.key):
                _note_written(word, where, content)
        default = DEFAULT_FILES.get(action.name)
        if default and not action.get("FILE"):
            _note_name(default, f"{source}:{action.line}", content)
    for word, value in reversed(changes):
        key = word.text.partition("=")[0]
        new = f"{{{key}={value}}}" if " " in value else f"{key}={value}"
        text = text[: word.begin] + new + text[word.end :]
    return text


def _is_read(name: str, key: str, value: str) -> bool:
    if not key or not value or (name in _NUMBERS and key.startswith("REFERENCE")):
        return False
    return key in _READS_OF.get(name, ()) or bool(_READS.fullmatch(key))


def _staged(given: str, where: str, action: Action, key: str, content: _Input) -> str:
    """The name of a file that is read, in the folder of each walker."""
    file = content.folder / given  # PLUMED takes paths from where it runs, also those in an included file
    if not file.is_file():
        if key == "STATE_RFILE" and not file.exists():
            return given  # OPES reads it only where it goes on from an earlier bias
        raise NoInput(f"{where}: {given}: {'not a file' if file.exists() else 'no such file'}", _BELOW)
    path = os.path.abspath(file)
    written = action.get(key.replace("_RFILE", "_WFILE")) if "_RFILE" in key else ""
    is_rewritten = bool(written) and given in written.split(",")
    if path in content.open:
        raise BadData(f"{where}: {given} includes itself", "include each file once")
    if action.name != "INCLUDE" and (digest := _binary(path)):
        content.binaries[path] = digest
        return path
    name = os.path.normpath(given)
    if os.path.isabs(given) or ".." in Path(name).parts or is_rewritten:
        name = content.elsewhere.setdefault(path, f"elsewhere/{len(content.elsewhere) + 1}-{file.name}")
    else:
        name = given
    if name not in content.files:
        if action.name == "INCLUDE":
            inner = _Input(content.folder, content.files, content.elsewhere, content.binaries, content.written)
            inner.open = (*content.open, path)
            content.files[name] = ""  # keeps the order in which the files are named
            content.files[name] = _prepared(str(file), inner)
        else:
            content.files[name] = _text(str(file))
    return name


def _note_written(word: Word, where: str, content: _Input) -> None:
    """Raise BadData for a file that cannot be one of a walker's own."""
    for name in filter(None, word.value.split(",")):
        if name == "/dev/null":
            continue
        if "/" in name:
            why = (
                "all walkers would write there"
                if os.path.isabs(name) or ".." in name
                else "PLUMED does not create folders"
            )
            hint = f"{word.key}={os.path.basename(name) or 'NAME'}: each walker has its own folder for such files"
            raise BadData(f"{where}: {word.text}: {why}", hint)
        if name in _OWN:
            raise BadData(f"{where}: {word.text}: psiflow uses this file name itself", "choose another name")
        _note_name(name, where, content)


def _note_name(name: str, where: str, content: _Input) -> None:
    earlier = content.written.setdefault(name, where)
    if earlier != where:
        raise BadData(f"{where}: {name} is also written by {earlier}", "give each its own FILE")


def _binary(path: str) -> str:
    """The sha256 of a file that is no text, else ""."""
    data = Path(path).read_bytes()
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return hashlib.sha256(data).hexdigest()
    return ""


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise NoInput(f"{path}: not UTF-8 text (byte {error.start})", "give a text file that PLUMED can read") from None
    except OSError as error:
        raise NoInput(f"{path}: {error.strerror or error}", "give a text file that PLUMED can read") from None
