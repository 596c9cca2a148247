"""The comment line of a frame: `key=value` pairs, as they are written and as they are meant."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

_QUOTED = r'"(?:[^"\\]|\\.)*"' + "|" + r"'(?:[^'\\]|\\.)*'"
_BRACED = r"\{[^{}]*\}"
_BRACKETED = r"\[(?:[^\[\]]|\[[^\[\]]*\])*\]"
_PLAIN = r"""[^\s"'{}\[\]\\]"""
# The first two alternatives are the common ones; the last joins quoted and unquoted parts, as ASE does.
_VALUE = rf'"[^"\\]*"(?=\s|$)|{_PLAIN}+(?=\s|$)|(?:{_PLAIN}|\\.|{_QUOTED}|{_BRACED}|{_BRACKETED})+'
_KEY = r"""[^\s="'{}\[\]\\]+|""" + _QUOTED
_PAIR = re.compile(rf"\s*(({_KEY})(?:\s*=\s*({_VALUE}))?)(?=\s|$)")
_PARTS = re.compile(rf"\\(.)|({_QUOTED})|({_BRACED}|{_BRACKETED})")
_EXTENDED = re.compile(r"(?:^|\s)(?:Properties|Lattice)\s*=")
_WORDS = re.compile(r"[^\s,]+")
_ROWS = re.compile(r"\[([^\[\]]*)\]")
_SPECIAL = re.compile(r"""["'\\{\[]""")
_ESCAPE = re.compile(r"\\(.)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
_BARE = re.compile(r"""[^\s"'={}\[\]\\,]+""")
_NUMBER_ELSEWHERE = re.compile(r"[-+.\d_]*\d[-+.\d_]*(?:[dDeE][-+]?\d+)?")
_BOOLS = {
    "T": True, "true": True, "True": True, "TRUE": True,
    "F": False, "false": False, "False": False, "FALSE": False,
}  # fmt: skip


class Pair(NamedTuple):
    """One `key=value`."""

    key: str
    raw: str
    """The pair as it is written."""
    value: str | None
    """The value as it is written, with its quotes; None for a bare word."""


class Malformed(ValueError):
    """The comment is no sequence of pairs; the text says where."""


def split(comment: str) -> list[Pair]:
    """The pairs of a comment line; empty for free text, which a plain XYZ file may hold.

    Raises Malformed for a comment of an extended XYZ frame that cannot be taken apart, or that has a key twice.
    """
    pairs = []
    end = 0
    while match := _PAIR.match(comment, end):
        end = match.end()
        raw, key, value = match.groups()
        pairs.append(Pair(_text(key) if key[0] in "\"'" else key, raw, value))
    rest = comment[end:]
    if rest and not rest.isspace():
        if _EXTENDED.search(comment):
            raise Malformed(f"the comment line cannot be read from column {end + 1}: {rest.strip()[:40]!r}")
        return []
    keys = [pair.key for pair in pairs if pair.value is not None]
    if len(set(keys)) != len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise Malformed(f"the comment line has {twice!r} twice")
    return pairs


def _text(raw: str) -> str:
    """A quoted or partly quoted text without its quotes and escapes."""
    if raw[0] == raw[-1] == '"' and raw.count('"') == 2 and "\\" not in raw:
        return raw[1:-1]
    return _PARTS.sub(_part, raw)


def _part(match: re.Match[str]) -> str:
    if match[1]:
        return _unescaped(match)
    return _ESCAPE.sub(_unescaped, match[0][1:-1])


def _unescaped(match: re.Match[str]) -> str:
    return "\n" if match[1] == "n" else match[1]


def text(raw: str) -> str:
    """A value as text: without quotes, braces, brackets and escapes."""
    return _text(raw) if _SPECIAL.search(raw) else raw


def value(raw: str) -> Any:
    """A value as a number, bool, list of these, what its JSON says, or text.

    Raises ValueError for a value that announces JSON and is none.
    """
    if raw[0] != "[":
        return _meaning(text(raw))
    inner = raw[1:-1]
    if "[" in inner:
        return [_listed(row) for row in _ROWS.findall(inner)]
    return _listed(inner)


def _listed(text: str) -> list[Any]:
    meaning = _meaning(text)
    if isinstance(meaning, list):
        return meaning
    if isinstance(meaning, str):
        return [word.strip("\"'") for word in _WORDS.findall(meaning)]
    return [meaning]


def _meaning(text: str) -> Any:
    words = _WORDS.findall(text)
    numbers = _numbers(text, words) if words else None
    if numbers is None and words and all(word in _BOOLS for word in words):
        numbers = [_BOOLS[word] for word in words]
    if numbers is not None:
        return numbers[0] if len(numbers) == 1 else numbers
    if text.startswith("_JSON "):
        try:
            return json.loads(text[6:])
        except (ValueError, RecursionError):
            raise ValueError(f"the JSON in {text[:60]!r} cannot be read") from None
    return text


def _numbers(text: str, words: list[str]) -> list[Any] | None:
    """All int or all float; Python's own underscores and foreign digits are no numbers to other programs."""
    if "_" in text or not text.isascii():
        return None
    for kind in (int, float):
        try:
            return list(map(kind, words))
        except ValueError:
            continue
    return None


def quoted(text: str) -> str:
    """A text as a value, such that ASE and libAtoms' extxyz read the same text."""
    text = _CONTROL.sub(" ", text)
    if not text or "_JSON" in text[:5] or not isinstance(_meaning(text), str) or _numbers_elsewhere(text):
        text = "_JSON " + json.dumps(text)
    return text if _BARE.fullmatch(text) else _in_quotes(text)


def _in_quotes(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _numbers_elsewhere(text: str) -> bool:
    """Whether another reader takes this text for numbers: `1_000` (ASE), `1d5` (libAtoms)."""
    return all(map(_NUMBER_ELSEWHERE.fullmatch, _WORDS.findall(text)))


def written(key: str, value: Any) -> str:
    """`key=value` for builtins: a 3x3 matrix of a special key as 9 numbers, as ASE does, other nested lists as JSON."""
    return f"{key if _BARE.fullmatch(key) else _in_quotes(key)}={_written(key, value)}"


def _written(key: str, value: Any) -> str:
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, (bool, int, float)):
        return _scalar(value)
    if key in ("Lattice", "stress", "virial"):
        value = [x for row in value for x in (row if isinstance(row, (list, tuple)) else (row,))]
    kinds = {type(x) for x in value} if isinstance(value, (list, tuple)) else set()
    if kinds and len(value) > 1 and (kinds == {bool} or kinds <= {int, float}):
        return '"' + " ".join(map(_scalar, value)) + '"'
    return _in_quotes("_JSON " + json.dumps(value))


def _scalar(value: bool | int | float) -> str:
    return ("T" if value else "F") if isinstance(value, bool) else repr(value)
