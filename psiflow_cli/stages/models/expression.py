"""The expression that says what to add: `0.5*a.model + 0.5*b.model@pbe - xtb:method=GFN1-xTB`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

from psiflow_cli.errors import UsageError

_MINUS, _TIMES = "\N{MINUS SIGN}\N{EN DASH}-", "*\N{MULTIPLICATION SIGN}\N{MIDDLE DOT}"
"""As they are typed, and as they are copied from a text."""
_SIGN = re.compile(rf"\s*([+{_MINUS}])\s*")
_NUMBER = r"(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
_FACTOR = re.compile(rf"({_NUMBER})(?:\s*/\s*({_NUMBER}))?\s*[{_TIMES}]\s*")
_NO_NUMBER = re.compile(rf"([^\s/{_TIMES}]+|\d[^\s{_TIMES}]*)\s*[{_TIMES}](?!\s*{_NUMBER}\s*$)")
_COMMA = re.compile(rf"\d+,\d+\s*[{_TIMES}]")
_REFERENCE = re.compile(r"[A-Za-z_]\w*(:[^\s]*)?")
_HEAD = re.compile(r"@(\S+)")
_END = re.compile(rf"\s+[+{_MINUS}](?=\s)|$")
_FORM = "terms are FACTOR*NAME with + or - between them: 0.5*a.model + dftd:xc=pbe"


@dataclass(frozen=True)
class Piece:
    """A term as it was written."""

    factor: float
    name: str  # of a file, or `reference:key=value,…`
    head: str | None
    at: int  # the character where it begins, from 1


def parse(text: str, is_file: Callable[[str], bool], references: list[str]) -> list[Piece]:
    """The terms. What is the name of a file is one, whatever is in it; quotes enclose what would be misread.

    Raises UsageError that names the character.
    """
    pieces: list[Piece] = []
    position = 0
    while position < len(text.rstrip()) or not pieces:
        sign, begin = _sign(text, position, first=not pieces)
        factor, begin = _factor(text, begin, is_file)
        name, end = _name(text, begin, is_file, references)
        head = _HEAD.match(text, end)
        pieces.append(Piece(sign * factor, name, head[1] if head else None, begin + 1))
        position = head.end() if head else end
    return pieces


def options(name: str) -> tuple[str, dict[str, str]]:
    """The reference of a term and its options: `dftd:xc=pbe,version=d3` -> dftd, {xc: pbe, version: d3}.

    A comma begins another option only where a key and `=` follow it. Raises ValueError.
    """
    reference, _, given = name.partition(":")
    pairs: dict[str, str] = {}
    for word in re.split(r",(?=\w+=)", given) if given else []:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise ValueError(f"{word!r} is not an option: write KEY=VALUE, separated by commas")
        if key in pairs:
            raise ValueError(f"{key} is given twice")
        pairs[key] = value
    return reference, pairs


def wrong(text: str, at: int, problem: str, hint: str = _FORM) -> UsageError:
    """The error for what is wrong at a character (from 1) of an expression."""
    return UsageError(f"{text!r}, character {at}: {problem}", hint)


def _sign(text: str, position: int, first: bool) -> tuple[float, int]:
    match = _SIGN.match(text, position)
    if match:
        end = match.end()
        if again := _SIGN.match(text, end):
            raise wrong(text, again.start(1) + 1, "a second sign")
        if end >= len(text.rstrip()):
            raise wrong(text, match.start(1) + 1, f"no term follows {match[1]!r}")
        return (1.0 if match[1] == "+" else -1.0), end
    position += len(text[position:]) - len(text[position:].lstrip())
    if position >= len(text):
        raise wrong(text, position + 1, "no term")
    if not first:
        word = text[position:].split()[0]
        hint = "write the factor before its term: 0.5*a.model" if word[0] in f"/{_TIMES}" else _FORM
        raise wrong(text, position + 1, f"{word!r}, where + or - was expected", hint)
    return 1.0, position


def _factor(text: str, begin: int, is_file: Callable[[str], bool]) -> tuple[float, int]:
    if _longest_file(text, begin, is_file):
        return 1.0, begin
    if _COMMA.match(text, begin):
        raise wrong(text, begin + 1, "write the factor with a decimal point, not a comma")
    match = _FACTOR.match(text, begin)
    if not match:
        return 1.0, begin
    divisor = float(match[2] or 1)
    factor = float(match[1]) / divisor if divisor else math.inf
    if not math.isfinite(factor):
        raise wrong(text, begin + 1, "the factor is not a finite number")
    if factor == 0:
        raise wrong(text, begin + 1, "the factor is 0", "leave the term out")
    if match.end() >= len(text.rstrip()):
        raise wrong(text, begin + 1, "no term follows the factor")
    return factor, match.end()


def _name(text: str, begin: int, is_file: Callable[[str], bool], references: list[str]) -> tuple[str, int]:
    """The name that begins here, and where it ends."""
    if text[begin] in "'\"":
        end = text.find(text[begin], begin + 1)
        if end < 0:
            raise wrong(text, begin + 1, f"the quote {text[begin]} is not closed")
        if not text[begin + 1 : end].strip():
            raise wrong(text, begin + 1, "there is no name between the quotes")
        return text[begin + 1 : end], end + 1
    if end := _longest_file(text, begin, is_file):
        return text[begin:end], end
    if text[begin] in "()":
        raise wrong(text, begin + 1, "parentheses have no meaning here", "write the factor before each term")
    if _FACTOR.match(text, begin):
        raise wrong(text, begin + 1, "a second factor")
    match = _REFERENCE.match(text, begin)
    if match and match[0].partition(":")[0] in references:
        return match[0], match.end()
    if factor := _NO_NUMBER.match(text, begin):
        raise wrong(text, begin + 1, f"the factor {factor[1]!r} is not a number", "write it as in 0.5*a.model")
    end_match = _END.search(text, begin)
    assert end_match is not None
    return text[begin : end_match.start()].rstrip(), end_match.start()


def _longest_file(text: str, begin: int, is_file: Callable[[str], bool]) -> int:
    """Where the longest name of a file that begins here ends; 0 if none does."""
    for end in range(len(text), begin, -1):
        ends_here = end == len(text) or text[end].isspace() or text[end] in f"+@{_MINUS}{_TIMES}"
        if ends_here and not text[end - 1].isspace() and is_file(text[begin:end]):
            return end
    return 0
