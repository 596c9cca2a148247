"""CP2K input as a tree: parsed with the line of every mistake, edited, and written in one canonical form."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypedDict

from psiflow_cli.errors import BadData
from psiflow_cli.references.cp2k.preprocess import Line, Preprocessor, unquoted

if TYPE_CHECKING:
    from typing_extensions import NotRequired

_WORD = re.compile(r"[^\s,:;=]+")
"""CP2K takes any of these separators for a blank: `CUTOFF=300`, `ABC 5, 5, 5`."""
_LONGEST = 400
"""Characters after which a line is continued on the next: CP2K cuts what it cannot hold."""


@dataclass
class Keyword:
    """A keyword, its name in capitals and its value as written."""

    name: str
    value: str
    line: Line

    @property
    def word(self) -> str:
        """The value's first word, without quotes."""
        word = _WORD.search(self.value)
        return unquoted(word[0]) if word else ""


@dataclass
class Section:
    """A section, its name in capitals, its parameter as written, its items in order."""

    name: str
    parameter: str
    line: Line
    items: list[Section | Keyword] = field(default_factory=list)

    def sections(self, name: str = "") -> list[Section]:
        """The subsections with this name, or all of them."""
        return [i for i in self.items if isinstance(i, Section) and name in ("", i.name)]

    def find(self, path: str) -> Section | None:
        """The first section at a path such as `DFT/SCF`."""
        section: Section | None = self
        for name in path.split("/"):
            section = next(iter(section.sections(name)), None) if section else None
        return section

    def ensure(self, path: str) -> Section:
        """The first section at a path, made where it is missing."""
        parent = self
        for name in path.split("/"):
            section = next(iter(parent.sections(name)), None)
            if section is None:
                section = Section(name, "", parent.line)
                parent.items.append(section)
            parent = section
        return parent

    def get(self, *names: str) -> str | None:
        """The value of the last keyword with one of these names."""
        values = [i.value for i in self.items if isinstance(i, Keyword) and i.name in names]
        return values[-1] if values else None

    def word(self, *names: str) -> str:
        """The first word, in capitals, of the last keyword with one of these names; empty if there is none."""
        words = [i.word for i in self.items if isinstance(i, Keyword) and i.name in names]
        return words[-1].upper() if words else ""

    def flag(self, *names: str) -> bool:
        """Whether a logical keyword is on; alone it is."""
        if self.get(*names) is None:
            return False
        return self.word(*names).strip(".") in ("", "T", "TRUE", "Y", "YES", "ON", "1")

    def put(self, name: str, value: str, *aliases: str) -> None:
        """Set a keyword once, in place of what it or its aliases were."""
        self.drop(name, *aliases)
        self.items.insert(0, Keyword(name, value, self.line))

    def drop(self, *names: str) -> list[Section | Keyword]:
        """Remove and return the keywords and sections with these names."""
        dropped = [i for i in self.items if i.name in names]
        self.items = [i for i in self.items if i.name not in names]
        return dropped

    def walk(self) -> Iterator[Section]:
        """This section and all below it."""
        yield self
        for section in self.sections():
            yield from section.walk()

    def render(self, depth: int = 0) -> str:
        """The section's text; of the root only its items."""
        if self.name == "":
            return "".join(i.render() for i in self.sections())
        pad = " " * depth
        body = "".join(
            i.render(depth + 1) if isinstance(i, Section) else f"{pad} {_wrapped(f'{i.name} {i.value}'.rstrip())}\n"
            for i in self.items
        )
        return f"{pad}&{f'{self.name} {self.parameter}'.rstrip()}\n{body}{pad}&END {self.name}\n"


class Settings(TypedDict):
    """A template in canonical form, without what psiflow controls, and what goes with it."""

    template: str
    files: dict[str, str]
    """Names and contents of those beside it."""
    labels: NotRequired[list[str]]
    """The label of each atom of its own &COORD, where an element has several kinds or atoms count by their order."""
    molecules: NotRequired[list[str]]
    """The molecule of each of these atoms, where the method depends on it."""
    cell: NotRequired[list[list[float]]]
    """Å: the cell vectors of a template for molecules."""
    periodic: NotRequired[str]
    """What its &CELL says; other than NONE it decides no label."""
    centre: NotRequired[list[float]]
    """Å: the point to which &CENTER_COORDINATES moves the atoms; empty: the middle of the cell."""
    box: NotRequired[float]
    """Å: edge of the cube that a molecule is put into."""
    cubes: NotRequired[dict[str, float]]
    """Å: edges for frames without a cell, by formula, as the frames of a run decide: no part of the method."""
    reuse_uks: NotRequired[bool]
    """Whether an unrestricted wavefunction may begin with that of another frame."""


def parse(text: str, source: str, preprocessor: Preprocessor | None = None) -> Section:
    """The tree of an input file. Raises BadData with the line of the first mistake."""
    stack = [Section("", "", Line(source, 1, ""))]
    for line in (preprocessor or Preprocessor(None)).lines(text, source):
        if not line.text.startswith("&"):
            stack[-1].items.append(_keyword(line, stack))
            continue
        name, rest = _parted(line.text[1:])
        if line.text[1:2].isspace() or not name:
            raise line.error("a section without a name")
        if name.upper() == "END":
            _close(line, [word.upper().lstrip("&") for word in _WORD.findall(rest)], stack)
        else:
            section = Section(name.upper(), unquoted(" ".join(rest.split())), line)
            stack[-1].items.append(section)
            stack.append(section)
    if len(stack) > 1:
        raise stack[-1].line.error(f"the section &{stack[-1].name} is never closed", f"add &END {stack[-1].name}")
    return stack[0]


def _parted(text: str) -> tuple[str, str]:
    """The first word, and what comes after it and one separator."""
    word = _WORD.search(text)
    if not word:
        return "", ""
    rest = text[word.end() :].strip()
    return word[0], rest[1:].strip() if rest[:1] in tuple(",:;=") else rest


def _keyword(line: Line, stack: list[Section]) -> Keyword:
    name, value = _parted(line.text)
    if not name or name[0] in "&@":  # CP2K takes neither a section nor a directive behind a separator
        raise line.error(f"{line.text} is neither a keyword nor a section")
    if len(stack) == 1:
        raise line.error(f"{name} is outside of all sections", "a CP2K input is made of &SECTION … &END blocks")
    quoted = '"' in value or "'" in value
    return Keyword(name.upper(), value if quoted else " ".join(value.split()), line)


def _close(line: Line, words: list[str], stack: list[Section]) -> None:
    """Close the open section: `&END`, `&END NAME` and `&END SECTION NAME` are all in use."""
    if len(stack) == 1:
        raise line.error("&END without an open section")
    section = stack.pop()
    ended = words[1:] if words[:1] == ["SECTION"] else words
    if ended and ended[0] != section.name:
        opened = f"&{section.name}, opened on line {section.line.number}"
        raise line.error(f"&END {ended[0]} closes {opened}", f"add &END {section.name} before it")


def _wrapped(text: str) -> str:
    """A long line as several, each of which goes on in the next."""
    if len(text) <= _LONGEST or '"' in text or "'" in text:
        return text
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) > _LONGEST:
            lines.append("")
        lines[-1] += f"{word} "
    return "\\\n".join(lines).rstrip()


def only(root: Section, name: str) -> Section:
    """The one section with this name at the top. Raises BadData if there is none or more than one."""
    sections = root.sections(name)
    if not sections:
        raise BadData(f"{root.line.source}:1: there is no &{name} section", "is this a CP2K input?")
    if len(sections) > 1:
        raise sections[1].line.error(
            f"a second &{name} section", f"a template has only one; the first is on line {sections[0].line.number}"
        )
    return sections[0]
