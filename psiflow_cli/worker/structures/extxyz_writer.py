"""The text of one extended XYZ frame, with every float64 written so that it reads back bit for bit."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

Rows = Sequence[Sequence[float]]

_BARE = re.compile(r"""[^\s"'=\\{}\[\],]+""")


def frame_text(
    symbols: Sequence[str],
    positions: Rows,
    cell: Rows | None,
    pbc: Sequence[bool],
    info: Mapping[str, Any],
    columns: Mapping[str, Sequence[Any]] | None = None,
) -> str:
    """One frame; positions in Å, `cell` three rows in Å or None, `info` in the order given.

    `info` holds builtins: scalars, flat lists, and nested lists (written as JSON). `columns` holds one value or one
    list of equal length for each atom; its values are all int, all float, all bool, or all words without blanks.
    """
    named = list((columns or {}).items())
    header = [] if cell is None else ['Lattice="' + " ".join(_scalar(float(x)) for row in cell for x in row) + '"']
    header.append("Properties=species:S:1:pos:R:3" + "".join(_declare(name, values) for name, values in named))
    header += [f"{_quoted(key)}={_value(value)}" for key, value in info.items()]
    header.append('pbc="' + " ".join("T" if flag else "F" for flag in pbc) + '"')
    lines = [str(len(symbols)), " ".join(header)]
    for index, (symbol, (x, y, z)) in enumerate(zip(symbols, positions, strict=True)):
        line = f"{symbol} {float(x)!r} {float(y)!r} {float(z)!r}"
        for _, values in named:
            line += " " + " ".join(_scalar(v) for v in _row(values[index]))
        lines.append(line)
    return "\n".join(lines) + "\n"


def _row(value: Any) -> Sequence[Any]:
    return value if isinstance(value, (list, tuple)) else (value,)


def _declare(name: str, values: Sequence[Any]) -> str:
    first = _row(values[0]) if values else ()
    kinds = {bool: "L", int: "I", float: "R", str: "S"}
    return f":{name}:{kinds[type(first[0])]}:{len(first)}" if first else f":{name}:R:1"


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return "T" if value else "F"
    return value if isinstance(value, str) else repr(value)


def _value(value: Any) -> str:
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, (list, tuple)):
        if all(isinstance(v, (bool, int, float)) for v in value):
            return '"' + " ".join(_scalar(v) for v in value) + '"'
        return _quoted("_JSON " + json.dumps(value))
    return _scalar(value)


def _quoted(text: str) -> str:
    if _BARE.fullmatch(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
