"""What a user hands to a reference: an input file in the code's own language, or a table of options."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from psiflow_cli import toml
from psiflow_cli.elements import SYMBOLS
from psiflow_cli.errors import BadData, NoInput, UsageError, nearest
from psiflow_cli.values import quantities

Kind = type | tuple[str, ...]
"""Of an option: `str`, `int` or `float` (both above zero), `bool`, `dict` (a text, or one per element), or names."""


GIVE_ATOMS = "keep one of them, or keep the input's own atoms, in the order of the frames, to assign them"
"""The hint for an input with several kinds of an element and no atoms."""
Value = str | int | float | bool | dict[str, str]  # of an option, in canonical form


def text(path: Path | None, reference: str, example: str) -> str:
    """The contents of an input file. Raises UsageError if none is named, NoInput or BadData if it cannot be read."""
    if path is None:
        raise UsageError(f"the reference {reference} needs an input file", f"give it with --input {example}")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise BadData(f"{path}: not a text file", f"give --input an input file such as {example}") from None
    except FileNotFoundError:
        raise NoInput(f"{path}: no such file") from None
    except OSError as error:
        raise NoInput(f"{path}: {error.strerror}") from None


def beside(path: Path, name: str, folders: list[Path], line: int) -> str:
    """The text of a file that an input names, from beside the input or from one of `folders`; latin-1, so lossless."""
    for folder in (path.parent, *folders):
        if (folder / name).is_file():
            return (folder / name).read_bytes().decode("latin-1")
    looked = ", ".join(map(str, (path.parent, *folders)))
    raise NoInput(f"{path}:{line}: {name} was found in none of {looked}", "put it beside the input")


def hint(key: str, known: Sequence[str]) -> str:
    """What to do about an option that is unknown: name the nearest, or say where a frame's state stands."""
    if key in ("charge", "multiplicity", "mult", "spin", "uhf", "nopen", "magmoms", "hund"):
        return (
            "set it in each frame: charge=1 multiplicity=2 in the comment line; GPAW also reads a column "
            "initial_magmoms"
        )
    return nearest(key, tuple(known))


def check_options(reference: str, options: Iterable[str], known: Sequence[str] = ()) -> None:
    """Raise UsageError for an option of `--set` that a reference does not have."""
    for key in options:
        if key not in known:
            what_to_do = hint(key, known) if known else "write it into the file given with --input"
            raise UsageError(f"unknown option {key!r} of the reference {reference}", what_to_do)


def at(path: Path | str, word: str) -> str:
    """`file:line` of the first line that has a word outside of comments, or `file`."""
    pattern = re.compile(rf"(?i)(?<!\w){re.escape(word)}(?!\w)")
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), 1):
        if pattern.search(re.split("[#!]", line)[0]):
            return f"{path}:{number}"
    return str(path)


def element(label: str) -> str:
    """The element of an atom's label such as Fe, FE1, Fe_up, O-w or H(1), or "": two letters that are one, else one."""
    for length in (2, 1):
        symbol = label[:length].capitalize()
        if symbol in SYMBOLS:
            return symbol
    return ""


def several(kinds: Iterable[str], atoms: Iterable[str]) -> dict[str, list[str]]:
    """The labels of each element that has more than one: of `kinds`, those that a template's own `atoms` have."""
    used = set(atoms)
    in_use = {element(label) for label in used}
    labels: dict[str, list[str]] = {}
    for kind in kinds:
        if kind in used or element(kind) not in in_use:
            labels.setdefault(element(kind), []).append(kind)
    return {symbol: names for symbol, names in labels.items() if len(names) > 1}


def firsts(kinds: Sequence[str]) -> list[str]:
    """One label of each element, the first: the atoms of a template that is for single atoms."""
    return list({element(kind): kind for kind in reversed(kinds)}.values())


def labelled(symbols: Sequence[str], kinds: Sequence[str], atoms: Sequence[str], part: str) -> list[str]:
    """The label of each atom of a frame.

    Where an element has several kinds, the template's own atoms say which is whose, if they are the frame's in the
    same order. Raises ValueError if they are not; `part` is where the template has them.
    """
    for symbol, names in several(kinds, atoms).items():
        if symbol in symbols and [element(label) for label in atoms] != list(symbols):
            whose = f"the input has several kinds of {symbol} ({', '.join(names)})"
            raise ValueError(f"{whose}, but the atoms of its {part} are not those of the frame in the same order")
        if symbol in symbols:
            return list(atoms)
    used = [kind for kind in kinds if kind in atoms]
    of_element = {element(kind): kind for kind in reversed([*used, *kinds])}
    return [of_element.get(symbol, symbol) for symbol in symbols]


def table(path: Path | None, reference: str) -> dict[str, object]:
    """An input in TOML. Raises UsageError if none is named, NoInput or BadData."""
    return toml.parse(path, text(path, reference, f"{reference}.toml"), BadData)


def literal(value: str) -> object:
    """What the text of a `--set` pair is in TOML, as in kpts=[2,2,2]; a text where it is nothing else."""
    try:
        parsed: object = toml.loads(f"value = {value}")["value"]
    except toml.TOMLDecodeError:
        return value
    return parsed


def options(path: Path | None, pairs: Mapping[str, str], kinds: Mapping[str, Kind], reference: str) -> dict[str, Value]:
    """The options of a TOML file with the `--set` pairs over them, each of its kind, in the order of their names.

    Only what the user said is in it. Raises UsageError, NoInput or BadData.
    """
    values: dict[str, Value] = {}
    if path is not None:
        for key, value in table(path, reference).items():
            if key not in kinds:
                problem = f"{at(path, key)}: unknown option {key!r} of the reference {reference}"
                raise BadData(problem, hint(key, [*kinds]))
            try:
                values[key] = _of_kind(kinds[key], value)
            except ValueError as error:
                raise BadData(f"{at(path, key)}: {key}: {error}") from None
    check_options(reference, pairs, [*kinds])
    for key, value in pairs.items():
        try:
            values[key] = _of_kind(kinds[key], _word(kinds[key], value))
        except ValueError as error:
            raise UsageError(f"--set {key}={value}: {error}") from None
    return dict(sorted(values.items()))


def of_element(key: str) -> str:
    """The key of a table of elements in canonical form. Raises ValueError for one that is of no element."""
    symbol = key.capitalize()
    if symbol not in (*SYMBOLS, "Default"):
        raise ValueError(f"{key} is not an element; frames have no atom labels, numbers or ghosts")
    return symbol if symbol in SYMBOLS else "default"


def _word(kind: Kind, value: str) -> object:
    """What the text of a `--set` pair stands for; a text that is nothing of its kind stays one."""
    try:
        if kind in (int, float):
            return quantities.whole(value) if kind is int else float(value)
    except ValueError:
        return value
    return {"true": True, "yes": True, "false": False, "no": False}.get(value.lower(), value) if kind is bool else value


def _of_kind(kind: Kind, value: object) -> Value:
    """The value in canonical form. Raises ValueError with what it must be."""
    if isinstance(kind, tuple):
        if not isinstance(value, str) or value.lower() not in kind:
            raise ValueError(f"must be one of {', '.join(kind)}, not {value!r}")
        return value.lower()
    if kind is dict and isinstance(value, dict):
        if not value or not all(isinstance(v, str) and v for v in value.values()):
            raise ValueError("must be a text, or a table with one text per element")
        return {of_element(symbol): value[symbol] for symbol in sorted(value)}
    if kind in (str, dict):
        if not isinstance(value, str) or not value.strip():
            raise ValueError("must be a text" + (", or a table with one text per element" if kind is dict else ""))
        return value.strip()
    if kind is bool:
        if not isinstance(value, bool):
            raise ValueError(f"must be true or false, not {value!r}")
        return value
    number = float if kind is float else int
    if isinstance(value, bool) or not isinstance(value, (int, number)) or not 0 < value < float("inf"):
        raise ValueError(f"must be a positive {'whole ' if kind is int else ''}number, not {value!r}")
    return number(value)
