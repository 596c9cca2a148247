"""A command line as the far end gets it: paths that mean something here only become those of the mirror."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import click

from psiflow_cli.errors import NoInput
from psiflow_cli.remote import inputs

_BEFORE = r"(?:--[\w-]+=|-\w)?(?:[\w.]+=)?"
"""What an argument may have before a path: `--option=`, `-o`, `key=`."""
_OURS = ("--site", "--deadline")


@dataclass
class Named:
    """The paths in a command line and in the defaults files."""

    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    stdin: bool = False

    @property
    def paths(self) -> list[str]:
        return [*self.inputs, *self.outputs]


def named(context: click.Context, arguments: Sequence[str]) -> Named:
    """What a command is to read and to write; raises NoInput for frames that are not there."""
    parsed, _, _ = context.command.make_parser(context).parse_args(list(arguments))
    paths = Named()
    for param in context.command.params:
        name = str(param.name)
        texts = [*_texts(parsed.get(name)), *_texts((context.default_map or {}).get(name))]
        if param.type.name == "output" or name == "run_dir":
            paths.outputs += texts
        elif name not in ("site", "deadline") and isinstance(param.type, (click.types.StringParamType, click.Path)):
            for text in texts:
                _add(paths, param, text)
    return paths


def _texts(value: object) -> list[str]:
    if isinstance(value, (list, tuple)):
        return [text for each in value for text in _texts(each)]
    return [value] if isinstance(value, str) else []


def _add(paths: Named, param: click.Parameter, text: str) -> None:
    value = text.partition("=")[2]
    # a word such as `mace` may also be the name of a folder here
    may_be_folder = "=" in text or "DIR" in str(getattr(param, "metavar", ""))
    for each in (text, value):
        if each == "-":
            paths.stdin = True
        elif inputs.is_bundle(each) or (os.path.isdir(each) and may_be_folder):
            paths.inputs.append(each.rstrip("/") or "/")
        elif each and os.path.exists(each) and not os.path.isdir(each):
            paths.inputs.append(each)
    if isinstance(param, click.Argument) and text != "-" and not os.path.exists(text):
        raise NoInput(f"{text}: no such file", "check its name and the working directory")
    if isinstance(param, click.Argument) and os.path.isdir(text) and not inputs.is_bundle(text):
        raise NoInput(f"{text}: folders are not sent to another machine", "give its files")


def for_other_machine(arguments: Sequence[str], paths: Named, mirror: str) -> list[str]:
    """The arguments for the far end, less what it is told in another way."""
    return [_moved(argument, paths, mirror) for argument in plain(arguments)]


def plain(arguments: Sequence[str]) -> Iterator[str]:
    """The arguments less those that do not tell what the command is."""
    skip = False
    for argument, following in itertools.pairwise([*arguments, ""]):
        skip, skipped = not skip and argument in _OURS and bool(following), skip
        if not (skip or skipped or argument.startswith(tuple(f"{name}=" for name in _OURS))):
            yield argument


def table_there(table: Mapping[str, object], paths: Named, mirror: str) -> dict[str, object]:
    """A table of a defaults file, likewise."""
    return {key: _value_there(value, paths, mirror) for key, value in table.items()}


def _value_there(value: object, paths: Named, mirror: str) -> object:
    if isinstance(value, dict):
        return table_there(value, paths, mirror)
    if isinstance(value, list):
        return [_value_there(each, paths, mirror) for each in value]
    return _moved(value, paths, mirror) if isinstance(value, str) else value


def _moved(argument: str, paths: Named, mirror: str) -> str:
    """An argument with its path below the mirror; a path relative to the working directory is the same at both ends."""
    for path in sorted(filter(_only_here, paths.paths), key=len, reverse=True):
        trimmed = argument.rstrip("/") or argument
        if trimmed.endswith(path) and re.fullmatch(_BEFORE, before := trimmed[: len(trimmed) - len(path)]):
            return before + mirror + inputs.absolute(path)
    return argument


def _only_here(path: str) -> bool:
    """Absolute, or through a folder that may not exist at the far end."""
    return os.path.isabs(path) or "/../" in path.lstrip("./")
