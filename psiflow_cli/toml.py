"""TOML from the standard library, or from tomli before Python 3.11; and the little that it takes to write it."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping

from psiflow_cli.errors import PsiflowError

if sys.version_info >= (3, 11):
    from tomllib import TOMLDecodeError, loads
else:
    from tomli import TOMLDecodeError, loads

__all__ = ["TOMLDecodeError", "dumps", "key", "load", "loads", "parse", "places", "value", "with_line"]


def dumps(table: Mapping[str, object], path: str = "") -> str:
    """TOML text of nested dicts, and of lists of dicts at the top; None, which TOML lacks, is left out."""
    lists = {k: v for k, v in table.items() if not path and isinstance(v, list) and v and isinstance(v[0], dict)}
    entries = [
        f"\n[[{key(k)}]]\n" + "".join(f"{key(n)} = {value(x)}\n" for n, x in d.items())
        for k, v in lists.items()
        for d in v
    ]
    plain = [
        f"{key(k)} = {value(v)}\n"
        for k, v in table.items()
        if not isinstance(v, dict) and v is not None and k not in lists
    ]
    tables = {f"{path}.{key(k)}".lstrip("."): v for k, v in table.items() if isinstance(v, dict)}
    # a table of tables only needs no header of its own
    headed = path and (plain or not tables)
    return "".join([f"\n[{path}]\n" if headed else "", *plain, *entries, *(dumps(v, k) for k, v in tables.items())])


def key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else value(name)


def value(item: object) -> str:
    """A value as TOML wants it, on one line."""
    if isinstance(item, bool):
        return "true" if item else "false"
    if isinstance(item, (int, float)):
        return repr(item)
    if isinstance(item, (list, tuple)):
        return "[" + ", ".join(map(value, item)) + "]"
    if isinstance(item, dict):
        pairs = ", ".join(f"{key(k)} = {value(v)}" for k, v in item.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    # a JSON string is a TOML basic string, but for one character
    return json.dumps(str(item), ensure_ascii=False).replace("\x7f", "\\u007f")


def load(path: str | os.PathLike[str], kind: type[PsiflowError], hint: str = "") -> dict[str, object]:
    """The tables of a file. Raises `kind` with the line of a syntax error and what to do, and OSError."""
    try:
        with open(path, encoding="utf-8-sig") as stream:
            text = stream.read()
    except UnicodeDecodeError as error:
        raise kind(f"{path}: not UTF-8 text (byte {error.start})", "save it as UTF-8") from None
    return parse(path, text, kind, hint)


def parse(path: object, text: str, kind: type[PsiflowError], hint: str = "") -> dict[str, object]:
    """The tables of a file's text; see `load`."""
    try:
        return loads(text)
    except TOMLDecodeError as error:
        raise _explained(kind, path, text, str(error), hint) from None


def _explained(kind: type[PsiflowError], path: object, text: str, message: str, hint: str) -> PsiflowError:
    """`FILE:LINE: what` of a syntax error; `message` is "what (at line 3, column 4)" or "what (at end of document)"."""
    lines = text.splitlines()
    match = re.search(r"\(at (?:line (\d+), column \d+|end of document)\)", message)
    if match is None:
        return kind(f"{path}: not valid TOML: {message}", hint)
    number = int(match[1]) if match[1] else max(1, len(lines))
    what = message[: match.start()].strip()
    if "overwrite" in what or "declare" in what or "twice" in what:
        advice = "it occurs twice: keep one of them"
    elif not match[1]:
        advice = "a quotation mark or a bracket is not closed"
    else:
        advice = _advice(lines[number - 1] if number <= len(lines) else "")
    return kind(f"{path}:{number}: not valid TOML: {what}", "; ".join(filter(None, (advice, hint))))


def _advice(line: str) -> str:
    """What to do about a line that is no TOML, or ""."""
    if re.match(r"\s*\[", line):
        return "write the head of a table as [NAME], with one ] for each ["
    match = re.match(r"\s*([\w.\"'-]+)\s*([=:])\s*([^#]*?)\s*(?:#.*)?$", line)
    if match is None:
        return 'write KEY = VALUE, as in steps = 1000 or reference = "cp2k"' if line.strip() else ""
    key, sign, value = match.groups()
    if sign == ":":
        return f"put an equals sign between key and value: {key} = {value}"
    if re.fullmatch(r"\d+(-\d+)?(:\d+)+", value):
        return f'quote durations and times, as in "12:00:00": {key} = "{value}"'
    if value.lower() in ("true", "false") and value != value.lower():
        return f"write it in lower case: {key} = {value.lower()}"
    if re.match(r"[\[{]", value) and re.search(r"[\[{,=]\s*[A-Za-z]", value):
        return 'quote texts, also in lists and tables: ["H", "O"]'
    value = value.strip("“”„\u2018\u2019")  # of an editor that "corrects" quotation marks
    if not value:
        return f"a value is missing: {key} = …"
    if not re.match(r"[\"'\[{]", value) and not _is_value(value):
        quote = "'" if "\\" in value or '"' in value else '"'
        return f"quote texts: {key} = {quote}{value}{quote}"
    if "\\" in value:
        return f"put a text with backslashes in single quotes: {key} = '{value.strip(chr(34))}'"
    return "a quotation mark is missing" if value.count('"') % 2 or value.count("'") % 2 else ""


def _is_value(text: str) -> bool:
    try:
        loads(f"key = {text}")
    except TOMLDecodeError:
        return False
    return True


def places(text: str) -> dict[str, int]:
    """The line on which each key of a file is first set, by its path (`sample.steps`), and that of each table."""
    lines: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        if match := re.match(r"\s*\[+([^\[\]]+)\]", line):
            table = _path(match[1])
            lines.setdefault(table, number)
        elif match := re.match(r"\s*([^=#]+?)\s*=", line):
            lines.setdefault(f"{table}.{_path(match[1])}".lstrip("."), number)
    return lines


def _path(written: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in written.split("."))


def with_line(message: str) -> str:
    """`FILE: [TABLE] KEY: what` with the line behind it, if the file has that key or its table in so many words.

    A key in no table is `FILE: KEY: what`.
    """
    match = re.match(r"(.+?): (?:\[([^\]]+)\] ?)?([\w.-]*):", message)
    if match is None or not os.path.isfile(match[1]) or re.search(r"\(line \d+\)$", message):
        return message
    with open(match[1], encoding="utf-8-sig", errors="replace") as stream:
        lines = places(stream.read())
    path = ".".join(filter(None, (match[2], match[3])))
    number = lines.get(path) or next((line for key, line in lines.items() if key.startswith(f"{path}.")), None)
    return f"{message} (line {number})" if number else message
