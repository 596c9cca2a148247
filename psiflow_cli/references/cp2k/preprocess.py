"""CP2K's preprocessor: variables, conditions and included files resolved to plain lines that remember their origin.

It works line by line, before comments and continuations are looked at, and so do we: a value keeps the comment behind
it, an `@IF` that is false ends at the first `@ENDIF`, and a line with an `@` behind other things counts for nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from psiflow_cli.errors import BadData, NoInput, nearest
from psiflow_cli.references.cp2k.installation import in_data_folder

_BRACED = re.compile(r"\$\{([^}]*)\}")
_BARE = re.compile(r"\$(\w+)")
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_DEPTH = 20
_DIRECTIVES = ("@SET", "@IF", "@ENDIF", "@INCLUDE", "@XCTYPE", "@PRINT")


@dataclass(frozen=True)
class Line:
    """One logical line, stripped of comments, and where it stands."""

    source: str
    number: int
    text: str

    def error(self, message: str, hint: str = "") -> BadData:
        """A BadData that points at this line."""
        return BadData(f"{self.source}:{self.number}: {message}", hint)


@dataclass
class Preprocessor:
    """Reads lines with `@SET`, `@IF`, `@INCLUDE`, `@XCTYPE` and `${VARIABLE}` resolved as CP2K does."""

    folder: Path | None
    variables: dict[str, str] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)
    """Lines that CP2K passes over because of an `@` in them, even in their comment."""

    def lines(self, text: str, source: str) -> Iterator[Line]:
        """The logical lines of a text. Raises BadData for directives that cannot be resolved."""
        return joined(self._physical(text, source, 0))

    def _physical(self, text: str, source: str, depth: int) -> Iterator[Line]:
        opened: list[Line] = []
        skipping = False
        for number, raw in enumerate(text.split("\n"), 1):
            line = Line(source, number, raw.strip())
            if not line.text or line.text[0] in "!#":
                continue
            tag = _tag(line.text)
            if tag.startswith("@ENDIF"):
                if not opened:
                    raise line.error("@ENDIF without @IF")
                opened.pop()
                skipping = False
            elif tag == "@IF":
                opened.append(line)
                skipping = skipping or not self._holds(self._substitute(line))
            elif skipping:
                continue
            elif tag and line.text.startswith("@"):
                yield from self._directive(self._substitute(line), tag, depth)
            else:
                line = self._substitute(line)
                if "@" in line.text:
                    self.ignored.append(f"line {number} (for its @)")
                else:
                    yield line
        if opened:
            raise opened[0].error("@IF is never closed", "add @ENDIF")

    def _directive(self, line: Line, tag: str, depth: int) -> Iterator[Line]:
        rest = line.text[len(tag) :].strip()
        if tag == "@SET":
            name, _, value = rest.replace("\t", " ").partition(" ")
            if not _NAME.fullmatch(name) or not value.strip():
                raise line.error("@SET needs a name and a value", "a name has letters, digits and underscores")
            self.variables[name] = value.strip()
        elif tag in ("@INCLUDE", "@XCTYPE"):
            yield from self._include(line, tag, unquoted(uncommented(rest).strip()), depth)
        elif tag != "@PRINT":
            raise line.error(f"{tag} is not a CP2K directive", nearest(tag, _DIRECTIVES) or "write a space after @IF")

    def _include(self, line: Line, tag: str, name: str, depth: int) -> Iterator[Line]:
        if depth >= _DEPTH:
            raise line.error(f"{tag} '{name}' includes itself")
        folder = self.folder or Path()
        places = [folder / name, *in_data_folder(name)]
        if tag == "@XCTYPE":
            places = [
                folder / f"{name}.sec",
                folder / "xc_section" / f"{name}.sec",
                *in_data_folder(f"xc_section/{name}.sec"),
            ]
        path = next((p for p in places if name and p.is_file()), None)
        if path is None:
            raise line.error(f"{tag} '{name}': no such file", "its path is relative to the template's folder")
        yield from self._physical(read(path), f"{folder / name}" if folder in path.parents else str(path), depth + 1)

    def _holds(self, line: Line) -> bool:
        """Whether an `@IF` is true: `A == B`, `A /= B`, or a value that is neither empty nor 0."""
        condition = line.text[line.text.index("@") + 3 :].strip()
        signs = [sign for sign in ("==", "/=") for _ in range(condition.count(sign))]
        if not signs:
            return condition not in ("", "0")
        first, second = condition.split(signs[0], 1)
        first, second = first.partition("(")[2] if "(" in first else first, second.partition(")")[0]
        if len(signs) > 1 or not second.strip():
            raise line.error("@IF compares two values, as in @IF ${NAME} == VALUE")
        return (first.strip() == second.strip()) is (signs[0] == "==")

    def _substitute(self, line: Line) -> Line:
        """The line with its variables replaced, one after the other, as a default may name another variable."""
        text = line.text
        code = text if _tag(text) else uncommented(text)
        tail = text[len(code) :]
        for pattern in (_BRACED, _BARE):
            while reference := pattern.search(code):
                code = code[: reference.start()] + self._value(line, reference[1]) + code[reference.end() :]
                if len(code) > 10_000:
                    raise line.error(f"the variable {reference[1]} refers to itself")
        return Line(line.source, line.number, (code + tail).strip())

    def _value(self, line: Line, reference: str) -> str:
        name, has_default, default = reference.partition("-")
        if not _NAME.fullmatch(name):
            raise line.error(f"{reference!r} is not a variable name", "a name has letters, digits and underscores")
        if name not in self.variables and not has_default:
            raise line.error(f"the variable {name} is not set", f"add @SET {name} VALUE before it")
        return self.variables.get(name, default)


def read(path: Path) -> str:
    """The text of an input file, whose comments may be in UTF-8 or Latin-1. Raises NoInput or BadData (not text)."""
    try:
        contents = path.read_bytes()
    except OSError as error:
        raise NoInput(f"{path}: {error.strerror}") from None
    if b"\0" in contents:
        raise BadData(f"{path}:1: not a text file (byte {contents.index(0)})")
    try:
        return contents.decode("utf-8-sig")
    except UnicodeDecodeError:
        return contents.decode("latin-1")


def joined(lines: Iterator[Line]) -> Iterator[Line]:
    """Lines without comments, those that end in a backslash joined with the next."""
    held, first = "", None
    for line in lines:
        code = uncommented(line.text).strip()
        first = first or line
        if code.endswith("\\"):
            held += code[:-1] + " "
            continue
        text = (held + code).strip()
        if text:
            yield Line(first.source, first.number, text)
        held, first = "", None
    if first and held.strip():
        yield Line(first.source, first.number, held.strip())


def uncommented(line: str) -> str:
    """The line up to its comment; what stands in a pair of quotes is none."""
    quote = ""
    for index, char in enumerate(line):
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char if char in line[index + 1 :] else ""  # an apostrophe alone quotes nothing
        elif char in "!#":
            return line[:index]
    return line


def unquoted(text: str) -> str:
    """The text without the quotes around it."""
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text


def _tag(text: str) -> str:
    """The directive in a line, in capitals, if it holds an `@` outside of a comment."""
    before, at, rest = text.partition("@")
    if not at or "!" in before or "#" in before:
        return ""
    return f"@{rest.split(maxsplit=1)[0] if rest.strip() and not rest[0].isspace() else ''}".upper()
