"""The statements of PLUMED's input, and where each word stands; as PLUMED's `Tools::getParsedLine` reads them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from psiflow_cli.errors import BadData


@dataclass(frozen=True)
class Word:
    """A word of a statement; braces hold one with blanks together."""

    text: str
    line: int
    begin: int  # offsets in the input, braces included
    end: int

    @property
    def key(self) -> str:
        """What stands before the equals sign, in capitals; "" for a word that has none."""
        key, equals, _ = self.text.partition("=")
        return key.upper() if equals else ""

    @property
    def value(self) -> str:
        """What stands behind the equals sign."""
        return self.text.partition("=")[2].strip()


@dataclass
class Statement:
    """An action with its keywords, which may go over several lines."""

    line: int
    words: list[Word] = field(default_factory=list)

    @property
    def _has_label(self) -> bool:
        return len(self.words) > 1 and self.words[0].text.endswith(":")

    @property
    def action(self) -> str:
        """The name of the action, in capitals."""
        return self.words[1 if self._has_label else 0].text.upper()

    @property
    def label(self) -> str:
        """The label, or "" where PLUMED gives it one."""
        return self.words[0].text[:-1] if self._has_label else self.get("LABEL")

    def get(self, key: str, default: str = "") -> str:
        """The value of a keyword."""
        return next((word.value for word in self.words if word.key == key), default)


def parse(text: str, source: str) -> Iterator[Statement]:
    """The statements up to ENDPLUMED. Raises BadData, which names `source` and the line, where braces do not match."""
    statement, depth, continues, offset = Statement(0), 0, False, 0
    for number, line in enumerate(text.split("\n"), 1):
        words, inner = _words(line.partition("#")[0], number, offset, depth)
        offset += len(line) + 1
        if inner < 0:
            raise BadData(f"{source}:{number}: a closing brace without an opening one", "braces must be paired: {a b}")
        if not words:
            continue
        if continues and not depth and words[0].text == "...":
            words, continues = [], False
        elif words[-1].text == "...":
            continues = True
            words.pop()
        if depth and statement.words and words:  # PLUMED joins what a brace holds together over several lines
            first, rest = statement.words.pop(), words.pop(0)
            joined = f"{first.text} {rest.text}".strip()
            statement.words.append(Word(joined, first.line, first.begin, rest.end))
        if not statement.words:
            statement.line = number
        statement.words += words
        depth = inner
        if continues:
            continue
        if depth:
            raise BadData(
                f"{source}:{number}: a brace is not closed", "close it, or write `ACTION ...` for several lines"
            )
        if statement.words:
            if statement.action == "ENDPLUMED":
                return
            yield statement
        statement = Statement(0)
    if continues:
        raise BadData(
            f"{source}:{statement.line}: the statement is not closed", "close it with a line of three dots: ..."
        )


def _words(line: str, number: int, offset: int, depth: int) -> tuple[list[Word], int]:
    """The words of a line without its comment, and how many braces are open at its end; -1: one too many is closed."""
    words: list[Word] = []
    text, begin = "", -1
    for place, character in enumerate(f"{line} "):
        if depth == 0 and character.isspace():
            if begin >= 0:
                words.append(Word(text, number, offset + begin, offset + place))
            text, begin = "", -1
            continue
        begin = place if begin < 0 else begin
        outer = depth == 0 or (depth == 1 and character == "}")
        depth += (character == "{") - (character == "}")
        if depth < 0:
            return words, -1
        if not (outer and character in "{}"):
            text += character
    if begin >= 0:
        words.append(Word(text.strip(), number, offset + begin, offset + len(line)))
    return words, depth
