"""CP2K's preprocessor: variables, conditions and included files resolved to plain lines that remember their origin."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from psiflow_cli.errors import BadData, NoInput

_VARIABLE = re.compile(r"\$\{([^}-]*)(?:-([^}]*))?\}|\$(\w+)")
_DEPTH = 20


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
    """Reads lines with `@SET`, `@IF`, `@INCLUDE` and `${VARIABLE}` resolved as CP2K does."""

    folder: Path | None
    variables: dict[str, str] = field(default_factory=dict)

    def lines(self, text: str, source: str, depth: int = 0) -> Iterator[Line]:
        """The logical lines of a text. Raises BadData for directives that cannot be resolved."""
        condition: tuple[Line, bool] | None = None
        for line in _logical(text, source):
            directive = line.text.split(maxsplit=1)[0].upper()
            if directive == "@ENDIF":
                if condition is None:
                    raise line.error("@ENDIF without @IF")
                condition = None
            elif directive == "@IF":
                if condition is not None:
                    raise line.error("@IF inside @IF", "CP2K does not nest them")
                condition = (line, _true(self._substitute(line).text[3:].strip()))
            elif condition is not None and not condition[1]:
                continue
            elif directive.startswith("@"):
                yield from self._directive(line, directive, depth)
            else:
                yield self._substitute(line)
        if condition is not None:
            raise condition[0].error("@IF is never closed", "add @ENDIF")

    def _directive(self, line: Line, directive: str, depth: int) -> Iterator[Line]:
        words = line.text.split(maxsplit=2)
        if directive == "@SET":
            if len(words) < 2:
                raise line.error("@SET needs a name and a value")
            self.variables[words[1]] = self._expand(line, words[2] if len(words) > 2 else "")
        elif directive == "@INCLUDE":
            yield from self._include(line, depth)
        elif directive != "@PRINT":
            raise line.error(f"{words[0]} is not supported in a template", "write out what it stands for")

    def _include(self, line: Line, depth: int) -> Iterator[Line]:
        name = self._expand(line, line.text[len("@INCLUDE") :]).strip().strip("\"'")
        if depth >= _DEPTH:
            raise line.error(f"@INCLUDE '{name}' goes round in circles")
        path = (self.folder or Path()) / name
        if not name or not path.is_file():
            raise line.error(f"@INCLUDE '{name}': no such file", "its path is relative to the template's folder")
        yield from self.lines(read(path), name, depth + 1)

    def _substitute(self, line: Line) -> Line:
        if "$" not in line.text:
            return line
        return Line(line.source, line.number, self._expand(line, line.text))

    def _expand(self, line: Line, text: str) -> str:
        def value(match: re.Match[str]) -> str:
            name, default = match[1] or match[3], match[2]
            if name not in self.variables and default is None:
                raise line.error(f"the variable {name} is not set", f"add @SET {name} VALUE before it")
            return self.variables.get(name, default or "")

        return _VARIABLE.sub(value, text).strip()


def read(path: Path) -> str:
    """The text of an input file. Raises NoInput or BadData (not text)."""
    try:
        return path.read_text(encoding="utf-8", errors="strict")
    except UnicodeDecodeError as error:
        raise BadData(f"{path}:1: not a text file (byte {error.start})") from None
    except OSError as error:
        raise NoInput(f"{path}: {error.strerror}") from None


def _logical(text: str, source: str) -> Iterator[Line]:
    """Lines without comments and blanks, those that end in a backslash joined with the next."""
    held, start = "", 0
    for number, raw in enumerate(text.splitlines(), 1):
        line = _uncommented(raw).strip()
        start = start or number
        if line.endswith("\\"):
            held += line[:-1] + " "
            continue
        line = (held + line).strip()
        if line:
            yield Line(source, start, line)
        held, start = "", 0
    if held.strip():
        yield Line(source, start, held.strip())


def _uncommented(line: str) -> str:
    quote = ""
    for index, char in enumerate(line):
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char if char in line[index + 1 :] else ""  # an apostrophe alone quotes nothing
        elif char in "!#":
            return line[:index]
    return line


def _true(expression: str) -> bool:
    """CP2K's conditions: `A == B`, `A /= B`, or a value that is neither empty nor 0."""
    for operator, equal in (("==", True), ("/=", False)):
        if operator in expression:
            left, right = (side.strip() for side in expression.split(operator, 1))
            return (left == right) is equal
    return expression not in ("", "0")
