"""Values as text that ASE and libAtoms' extxyz read as the same values."""

from __future__ import annotations

import json
import re
from functools import lru_cache

from psiflow_cli.extxyz.comment import WORDS, meaning

_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
_BARE = re.compile(r"""[^\s"'={}\[\]\\,]+""")
_NUMBER_ELSEWHERE = re.compile(r"[-+.\d_]*[.\d][-+.\d_]*(?:[dDeE][-+]?\d+)?")
# What ASE writes flat, as nine numbers.
_MATRICES = ("Lattice", "stress", "virial")


def _quoted(text: str) -> str:
    """A text as a value, such that ASE and libAtoms' extxyz read the same text."""
    text = _CONTROL.sub(" ", text)
    if not text or "_JSON" in text[:5] or not isinstance(meaning(text), str) or _numbers_elsewhere(text):
        text = "_JSON " + json.dumps(text)
    return text if _BARE.fullmatch(text) else _in_quotes(text)


def _in_quotes(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _numbers_elsewhere(text: str) -> bool:
    """Whether another reader takes this text for numbers: `1_000` (ASE), `1d5` and `.` (libAtoms)."""
    return all(map(_NUMBER_ELSEWHERE.fullmatch, WORDS.findall(text)))


def written(key: str, value: object) -> str:
    """`key=value` for builtins: a 3x3 matrix of a special key as 9 numbers, as ASE does, other nested lists as JSON."""
    return f"{_name(key)}={_written(key, value)}"


@lru_cache(maxsize=256)
def _name(key: str) -> str:
    return key if _BARE.fullmatch(key) else _in_quotes(key)


def _written(key: str, value: object) -> str:
    if type(value) is float:
        return repr(value)
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, (bool, int, float)):
        return _scalar(value)
    if key in _MATRICES and isinstance(value, (list, tuple)):
        value = [x for row in value for x in (row if isinstance(row, (list, tuple)) else (row,))]
    if isinstance(value, (list, tuple)) and len(value) > 1:
        kinds = set(map(type, value))
        if kinds == {bool} or kinds <= {int, float}:
            return '"' + " ".join(map(_scalar, value)) + '"'
    return _in_quotes("_JSON " + json.dumps(value))


def _scalar(value: bool | int | float) -> str:
    return ("T" if value else "F") if isinstance(value, bool) else repr(value)
