"""The actions of PLUMED's input, and where each word stands; as PLUMED's `Tools::getParsedLine` reads them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from psiflow_cli.errors import BadData

OPES = ("OPES_METAD", "OPES_METAD_EXPLORE", "OPES_EXPANDED")
SHARING = ("METAD", "PBMETAD")
"""Biases that walkers can share through files; those of OPES are shared within one run of MPI only."""
DEFAULT_FILES = {
    "METAD": "HILLS", "OPES_METAD": "KERNELS", "OPES_METAD_EXPLORE": "KERNELS", "OPES_EXPANDED": "DELTAFS",
}  # fmt: skip
"""What is written where no FILE is named."""
_APPENDING = re.compile(r"PRINT|DUMP(?!GRID|CUBE).*|METAD|PBMETAD|OPES_.*")


@dataclass(frozen=True)
class Word:
    """A word of an action; braces hold one with blanks together."""

    source: str  # as in the input, with its braces
    line: int = 0
    begin: int = 0  # offsets in the input
    end: int = 0

    @property
    def text(self) -> str:
        """The word as PLUMED takes it: without its outer braces."""
        text, depth = "", 0
        for character in self.source:
            depth -= character == "}"
            if depth or character not in "{}":
                text += character
            depth += character == "{"
        return text

    @property
    def key(self) -> str:
        """What stands before the equals sign, in capitals; "" for a word that has none."""
        key, equals, _ = self.text.partition("=")
        return key.upper() if equals else ""

    @property
    def value(self) -> str:
        """What stands behind the equals sign."""
        return self.text.partition("=")[2].strip()


@dataclass(frozen=True)
class Action:
    """An action of the input, which may go over several lines; `label` is "" where PLUMED chooses it."""

    name: str  # in capitals
    label: str
    words: tuple[Word, ...]  # all of them, also the label and the name

    @property
    def line(self) -> int:
        """The line on which it begins."""
        return self.words[0].line

    def get(self, key: str, default: str = "") -> str:
        """The value of a keyword."""
        return next((word.value for word in self.words if word.key == key), default)

    def has(self, word: str) -> bool:
        """Whether a flag is set, or a keyword has a value."""
        return any(word in (each.key, each.text.upper()) for each in self.words)

    def with_words(self, remove: Iterable[str], add: Iterable[str] = ()) -> Action:
        """Without some keywords, and with others at the end."""
        removed = set(remove)
        return replace(self, words=(*(word for word in self.words if word.key not in removed), *map(Word, add)))

    @property
    def state_file(self) -> str:
        """Where an action of OPES writes its state."""
        return self.get("STATE_WFILE") or f"STATE.{self.label}"

    @property
    def appended_files(self) -> list[str]:
        """The files to whose ends it only adds; PLUMED may rewrite others."""
        if not _APPENDING.fullmatch(self.name):
            return []
        if self.name == "PBMETAD" and not self.get("FILE"):
            return [f"HILLS.{argument}" for argument in self.get("ARG").split(",")]
        return [name for name in (self.get("FILE") or DEFAULT_FILES.get(self.name, "")).split(",") if name]


def parse(text: str, source: str) -> Iterator[Action]:
    """The actions up to ENDPLUMED. Raises BadData, which names `source` and the line, where braces do not match."""
    words: list[Word] = []
    depth, continues, offset = 0, False, 0
    for number, line in enumerate(text.split("\n"), 1):
        new, inner = _words(line.partition("#")[0], number, offset, depth)
        offset += len(line) + 1
        if inner < 0:
            raise BadData(f"{source}:{number}: a closing brace without an opening one", "braces must be paired: {a b}")
        if not new:
            continue
        if continues and not depth and new[0].source == "...":
            new, continues = [], False
        elif new[-1].source == "...":
            continues = True
            new.pop()
        if depth and words and new:  # PLUMED joins what a brace holds together over several lines
            first, rest = words.pop(), new.pop(0)
            words.append(Word(f"{first.source} {rest.source}", first.line, first.begin, rest.end))
        words += new
        depth = inner
        if continues:
            continue
        if depth:
            raise BadData(
                f"{source}:{number}: a brace is not closed", "close it, or write `ACTION ...` for several lines"
            )
        if words:
            action = _action(words)
            if action.name == "ENDPLUMED":
                return
            yield action
        words = []
    if continues:
        line_of = words[0].line if words else number
        raise BadData(f"{source}:{line_of}: the statement is not closed", "close it with a line of three dots: ...")


def _action(words: list[Word]) -> Action:
    first = words[0].text
    if len(words) > 1 and first.endswith(":"):
        return Action(words[1].text.upper(), first[:-1], tuple(words))
    action = Action(first.upper(), "", tuple(words))
    return replace(action, label=action.get("LABEL"))


def _words(line: str, number: int, offset: int, depth: int) -> tuple[list[Word], int]:
    """The words of a line without its comment, and how many braces are open at its end; -1: one too many is closed."""
    words: list[Word] = []
    begin = -1
    for place, character in enumerate(f"{line} "):
        if depth == 0 and character.isspace():
            if begin >= 0:
                words.append(Word(line[begin:place], number, offset + begin, offset + place))
            begin = -1
            continue
        if begin < 0 and not character.isspace():
            begin = place
        depth += (character == "{") - (character == "}")
        if depth < 0:
            return words, -1
    if begin >= 0:
        words.append(Word(line[begin:].strip(), number, offset + begin, offset + len(line)))
    return words, depth
