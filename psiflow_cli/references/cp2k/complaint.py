"""Which line of a template CP2K complains about: it names what it found, of an input that was written again."""

from __future__ import annotations

import re
from collections.abc import Iterator

from psiflow_cli.references.cp2k.preprocess import Line
from psiflow_cli.references.cp2k.template import Keyword, Section

_UNKNOWN = re.compile(r"unknown (?:keyword|subsection) (\S+) (?:in|of) section (\S+)")
_REPEATED = re.compile(r"Keyword (\S+) in section (\S+) should not repeat")
_SECTION = re.compile(r"Section (\S+) should not repeat")
_FOUND = re.compile(
    r"enumeration: ?(\S+)|found <([^>]+)>|unit: (\S+)|input as \(([^)]+)\)|set <([^>]+)>|potential <([^>]+)>|"
    r"\(at ([^)]+)\)|number: (\S+)|argument (\S+)|type <([^>]+)>|keyword '([^']+)'|atomic kind <([^>]+)>|"
    r"functional:(\S+)"
)
_MEANT = {
    "No forces/gradients": "WF_CORRELATION",
    "for smearing": "SMEAR",
    "Automatic basis set generation": "AUXILIARY_DENSITY_MATRIX_METHOD",
}
"""Sections that CP2K does not name."""
_NAME = re.compile(r"\b[A-Z][A-Z_]+\b")
_ELECTRONS = re.compile(r"number of electrons|too few electrons|multipli[cs]ity", re.I)
_WORD = re.compile(r"[^\s,:;=\[\]<>&]+")
_PLACE = re.compile(r"\s*(?: at)?\s*, File: '.*?', Line:.*?(?:Chunk: <(.*)>)?$")


def tidy(text: str) -> str:
    """A complaint without the place in the input that CP2K read, which nobody else has seen."""
    return _PLACE.sub(lambda match: f" (at {match[1]})" if match[1] else "", text)


def place(root: Section, text: str) -> Line | None:
    """The line of a template's tree that a complaint is about, if it can be told."""
    sections = list(root.walk())
    match = _UNKNOWN.search(text) or _REPEATED.search(text)
    if match:
        lines = [i.line for s in sections for i in s.items if (i.name, s.name or "__ROOT__") == match.groups()]
        return lines[-1] if lines else None
    again = _SECTION.search(text)
    if again:
        lines = [s.line for s in sections if s.name == again[1]]
        return lines[-1] if lines else None
    for groups in _FOUND.findall(text):
        word = _WORD.search("".join(groups))
        for line, words in _words(sections) if word else ():
            if word and word[0].upper() in words:
                return line
    names = [name for text_part, name in _MEANT.items() if text_part in text] or _NAME.findall(text)
    lines = [item.line for section in sections for item in section.items if item.name in names]
    return lines[0] if lines else None


def of_electrons(text: str, root: Section) -> str:
    """A complaint about the number or the spin of the electrons, with what the input asked for and what to do."""
    if not _ELECTRONS.search(text):
        return text
    dft = root.ensure("FORCE_EVAL/DFT")
    charge, multiplicity = dft.word("CHARGE") or "0", dft.word("MULTIPLICITY", "MULTIP") or "none"
    asked = f"the frame has charge {charge} and multiplicity {multiplicity}"
    return f"{text} ({asked}; change those of the frame, or set CHARGE, MULTIPLICITY and UKS in the input)"


def _words(sections: list[Section]) -> Iterator[tuple[Line, list[str]]]:
    """The words of every line: values and parameters first, as they are more often wrong than names."""
    for section in sections:
        yield section.line, _WORD.findall(section.parameter.upper())
        for item in section.items:
            if isinstance(item, Keyword):
                yield item.line, _WORD.findall(item.value.upper())
    for section in sections:
        yield section.line, [section.name]
        for item in section.items:
            yield item.line, [item.name]
