"""What a reference site file shows, and what it should: every key of every table, each with a comment."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator

import msgspec

from psiflow_cli import registry
from psiflow_cli.site import schema


class Shown(typing.NamedTuple):
    """One key of a file, with the comment beside it or above it."""

    table: str
    key: str
    comment: str


def shown(text: str) -> Iterator[Shown]:
    """Every key of a TOML text that has one key on a line, and every table as a key of the one it is in."""
    table, above = "", ""
    for line in text.splitlines():
        beside = re.search(r"\s# (.+)$", line)
        if header := re.match(r"\[([\w.-]+)\]", line):
            table = header[1]
            yield Shown(*_split(table), "a table")
            yield Shown("", table.split(".")[0], "a table, or some")
        elif pair := re.match(r"([\w.-]+) = ", line):
            yield Shown(*_split(f"{table}.{pair[1]}".lstrip(".")), beside[1] if beside else above)
        above = line if line.startswith("#") else ""


def _split(path: str) -> tuple[str, str]:
    table, _, key = path.rpartition(".")
    return table, key


def expected(types: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Table, as a pattern, and key of all that the schema knows; `types` are those of the named provider tables."""
    yield from _keys(schema.Site, "")
    for kind in registry.names("runtime.providers"):
        name = next((name for name, type_ in types.items() if type_ == kind), kind)
        yield from _keys(registry.load("runtime.providers", kind).Provider, f"providers.{name}")


def _keys(struct: type[msgspec.Struct], table: str) -> Iterator[tuple[str, str]]:
    for field in msgspec.structs.fields(struct):
        path = f"{table}.{field.encode_name}".lstrip(".")
        named = [kind for kind in typing.get_args(field.type) if _is_struct(kind)]  # dict[str, Table]
        if _is_struct(field.type):
            yield from _keys(field.type, path)
        elif named and named != [schema.Provider]:
            yield from _keys(named[0], path if type(None) in typing.get_args(field.type) else f"{path}.*")
        elif not named:
            yield table, field.encode_name


def _is_struct(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def problems(text: str, types: dict[str, str]) -> list[str]:
    """Keys that are not shown, or that have no comment."""
    there, found = list(shown(text)), []
    for table, key in expected(types):
        pattern = re.escape(table).replace(r"\*", r"[^.]+")
        comments = [s.comment for s in there if s.key == key and re.fullmatch(pattern, s.table)]
        if not all(comments) or not comments:
            found.append(f"[{table}] {key}: {'no comment' if comments else 'not shown'}")
    return found
