"""TOML from the standard library, or from tomli before Python 3.11; and the little that it takes to write it."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping

if sys.version_info >= (3, 11):
    from tomllib import TOMLDecodeError, loads
else:
    from tomli import TOMLDecodeError, loads

__all__ = ["TOMLDecodeError", "dumps", "explain", "key", "loads", "value"]


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


def explain(path: object, text: str, error: TOMLDecodeError) -> tuple[str, str]:
    """`FILE:LINE: what` of a syntax error, and a hint if the line looks like a duration without quotes."""
    lines = text.splitlines()
    message = str(error)  # "what (at line 3, column 4)" or "what (at end of document)"
    match = re.search(r"\(at (?:line (\d+), column \d+|end of document)\)", message)
    if match is None:
        return f"{path}: not valid TOML: {message}", ""
    number = int(match[1]) if match[1] else max(1, len(lines))
    is_time = number <= len(lines) and re.search(r"=\s*\d+(-\d+)?:\d", lines[number - 1])
    hint = 'durations and times are quoted strings, as in "12:00:00"' if is_time else ""
    return f"{path}:{number}: not valid TOML: {message[: match.start()].strip()}", hint
