"""The trainer's own configuration file, YAML or TOML, and the files that it names."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from psiflow_cli import toml
from psiflow_cli.errors import BadConfig, BadSettings, NoInput, PsiflowError

if TYPE_CHECKING:
    from yaml import Node

    from psiflow_cli.messages import Config, NamedFile


@dataclass(frozen=True)
class TrainersFile:
    """What is in a configuration file, and where."""

    name: str = ""  # as the user calls it; empty for no file
    table: Config = field(default_factory=dict)
    lines: Mapping[str, int] = field(default_factory=dict)
    """The line of each setting; its key has dots where it is inside of tables."""

    def refused(self, error: BadSettings, single: Mapping[str, str]) -> PsiflowError:
        """The same error, with the place in the file of each setting that is not among the `single` ones."""
        lines = [self._line(refusal.key, single) for refusal in error.refusals]
        placed = [
            (line, refusal if line < 0 else refusal._replace(problem=f"{self._at(line)}: {refusal.problem}"))
            for line, refusal in zip(lines, error.refusals, strict=True)
        ]
        whole = BadSettings([refusal for _, refusal in sorted(placed, key=lambda each: each[0])])
        return whole if max(lines) < 0 else BadConfig(whole.message, whole.hint)

    def _line(self, key: str, single: Mapping[str, str]) -> int:
        """The line of a setting, or of the table that it is missing in; 0 if not known, -1 if it is not here."""
        if not self.name or named(key, single):
            return -1
        return self.lines.get(named(key, self.lines), 0)

    def _at(self, line: int) -> str:
        return f"{self.name}:{line}" if line else self.name

    def find(self, named: NamedFile, single: Mapping[str, str]) -> Path | None:
        """The file that a setting names: from the working directory, as the trainer reads it, or beside this file.

        None for a Python module that is not there. Raises NoInput for any other file that is not.
        """
        folders = [Path(), *([Path(self.name).parent] if self.name else [])]
        endings = (".py", "/__init__.py") if named["module"] else ("",)
        for folder in folders:
            for ending in endings:
                path = folder / f"{named['name']}{ending}"
                if path.is_file() or (path.exists() and not named["module"]):
                    return path.parent if ending.startswith("/") else path
        if named["module"]:
            return None
        line = self._line(named["setting"], single)
        place = f"{self._at(line)}: " if line >= 0 else ""
        looked = " or ".join(dict.fromkeys(os.path.abspath(folder) for folder in folders))
        raise NoInput(f"{place}{named['setting']}: {named['name']}: no such file in {looked}", "check its name")


def named(key: str, names: Mapping[str, object]) -> str:
    """The name by which a user gave a setting: with or without the tables that it is inside of, or as one of these."""
    for name in names:
        if key == name or key.endswith(f".{name}") or name.endswith(f".{key}"):
            return name
    tables = [name for name in names if key.startswith(f"{name}.") or f".{name}." in key]
    return max(tables, key=len, default="")


def read(config: str | None) -> TrainersFile:
    """The trainer's configuration file, YAML or TOML by suffix."""
    if config is None:
        return TrainersFile()
    path = Path(config)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise NoInput(f"{config}: {error.strerror}", "check its name and the working directory") from None
    except UnicodeDecodeError as error:
        raise BadConfig(f"{config}: not UTF-8 text (byte {error.start})", "save it as UTF-8") from None
    is_toml = path.suffix == ".toml"
    data, lines = (_parse_toml if is_toml else _parse_yaml)(config, text)
    if not isinstance(data, dict):
        raise BadConfig(
            f"{config}: not a table of settings", "write one `name: value` per line, with the trainer's own names"
        )
    return TrainersFile(config, {str(key): value for key, value in data.items()}, lines)


def _parse_toml(name: str, text: str) -> tuple[object, dict[str, int]]:
    data = toml.parse(name, text, BadConfig, "only files that do not end in .toml are read as YAML")
    return data, toml.places(text)


def _parse_yaml(name: str, text: str) -> tuple[object, dict[str, int]]:
    import yaml

    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        what = getattr(error, "problem", None) or str(error)
        place = f"{name}:{mark.line + 1}" if mark else name
        raise BadConfig(
            f"{place}: not valid YAML: {' '.join(what.split())}", "only *.toml files are read as TOML"
        ) from None
    lines: dict[str, int] = {}
    for key, line in _keys(yaml.compose(text, yaml.SafeLoader)):
        if key in lines:
            raise BadConfig(f"{name}:{line}: {key}: also in line {lines[key]}", "keep one of them")
        lines[key] = line
    return {} if data is None else data, lines


def lines_of_yaml(text: str) -> dict[str, int]:
    """The line of each key of a YAML text, the keys of inner tables with dots."""
    import yaml

    return dict(_keys(yaml.compose(text, yaml.SafeLoader)))


def _keys(node: Node | None, prefix: str = "") -> Iterator[tuple[str, int]]:
    """Every key of a YAML file with its line, the keys of inner tables with dots."""
    from yaml import MappingNode

    if not isinstance(node, MappingNode):
        return
    for key, value in node.value:
        if key.value != "<<":  # merged from another table, whose keys may come twice
            yield f"{prefix}{key.value}", key.start_mark.line + 1
            yield from _keys(value, f"{prefix}{key.value}.")
