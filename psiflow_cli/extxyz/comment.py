"""The comment line of a frame: `key=value` pairs, as they are written and as they are meant."""

from __future__ import annotations

import json
import re
from typing import NamedTuple

_QUOTED = r'"(?:[^"\\]|\\.)*"' + "|" + r"'(?:[^'\\]|\\.)*'"
_BRACED = r"\{[^{}]*\}"
_BRACKETED = r"\[(?:[^\[\]]|\[[^\[\]]*\])*\]"
_PLAIN = r"""[^\s"'{}\[\]\\]"""
# The first two alternatives are the common ones; the last joins quoted and unquoted parts, as ASE does.
_VALUE = rf'"[^"\\]*"(?=\s|$)|{_PLAIN}+(?=\s|$)|(?:{_PLAIN}|\\.|{_QUOTED}|{_BRACED}|{_BRACKETED})+'
_KEY = r"""[^\s="'{}\[\]\\]+|""" + _QUOTED
_match_pair = re.compile(rf"\s*(({_KEY})(?:\s*=\s*({_VALUE}))?)(?=\s|$)").match
_PARTS = re.compile(rf"\\(.)|({_QUOTED})|({_BRACED}|{_BRACKETED})")
_EXTENDED = re.compile(r"(?:^|\s)(?:Properties|Lattice)\s*=")
WORDS = re.compile(r"[^\s,]+")
_ROWS = re.compile(r"\[([^\[\]]*)\]")
_SPECIAL = re.compile(r"""["'\\{\[]""")
_ESCAPE = re.compile(r"\\(.)")
_BOOLS = {
    "T": True, "true": True, "True": True, "TRUE": True,
    "F": False, "false": False, "False": False, "FALSE": False,
}  # fmt: skip


class Pair(NamedTuple):
    key: str
    raw: str  # the pair as it is written
    value: str | None  # the value as it is written, with its quotes; None for a bare word


class Malformed(ValueError):
    """The comment is no sequence of pairs; the text says where."""


def split(comment: str) -> list[Pair]:
    """The pairs of a comment line; empty for free text, which a plain XYZ file may hold.

    Raises Malformed for a comment of an extended XYZ frame that cannot be taken apart, or that has a key twice.
    """
    pairs, keys, end = [], [], 0
    while match := _match_pair(comment, end):
        end = match.end()
        raw, key, value = match.groups()
        if key[0] in "\"'":
            key = _text(key)
        if value is not None:
            keys.append(key)
        pairs.append(Pair(key, raw, value))
    if end < len(comment) and not comment[end:].isspace():
        if _EXTENDED.search(comment):
            raise Malformed(f"the comment line cannot be read from column {end + 1}: {comment[end:].strip()[:40]!r}")
        return []
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


def value(raw: str) -> object:
    """A value as a number, bool, list of these, what its JSON says, or text.

    Raises ValueError for a value that announces JSON and is none.
    """
    if raw[0] != "[":
        return meaning(text(raw))
    inner = raw[1:-1]
    if "[" in inner:
        return [_listed(row) for row in _ROWS.findall(inner)]
    return _listed(inner)


def _listed(text: str) -> list[object]:
    value = meaning(text)
    if isinstance(value, list):
        return value
    if isinstance(value, str):
        return [word.strip("\"'") for word in WORDS.findall(value)]
    return [value]


def meaning(text: str) -> object:
    """What a text without its quotes stands for: one or more numbers or flags, JSON, or itself."""
    words = WORDS.findall(text)
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


def _numbers(text: str, words: list[str]) -> list[float] | None:
    """All int or all float; Python's own underscores and foreign digits are no numbers to other programs."""
    if "_" in text or not text.isascii():
        return None
    for kind in (int, float):
        try:
            return list(map(kind, words))
        except ValueError:
            continue
    return None
