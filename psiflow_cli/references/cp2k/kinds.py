"""Which &KIND is whose: by element, and by the template's own coordinates where one element has several."""

from __future__ import annotations

import re
from collections.abc import Iterator

from psiflow_cli.errors import BadData
from psiflow_cli.references.cp2k import template
from psiflow_cli.references.cp2k.template import Keyword, Section, Settings

_LETTERS = re.compile("[A-Za-z]+")
WITHOUT_KINDS = ("XTB", "DFTB", "MNDO", "MNDOD", "AM1", "PM3", "PM6", "PM6-FM", "PDG", "RM1", "PNNL")
DEFAULT = "*"


def kinds(force_eval: Section) -> dict[str, str]:
    """The name of the &KIND of each element, `*` for &KIND DEFAULT.

    A kind that is named like the element wins over one that says ELEMENT or has a suffix, such as O1.
    """
    named: dict[str, str] = {}
    stated: dict[str, str] = {}
    for element, name, _ in _all(force_eval):
        if element in (DEFAULT, name.capitalize()):
            named[element] = name
        else:
            stated.setdefault(element, name)
    return {**stated, **named}


def _all(force_eval: Section) -> Iterator[tuple[str, str, Section]]:
    """The element, the name and the section of each &KIND that can be an atom's."""
    subsys = force_eval.find("SUBSYS")
    for kind in subsys.sections("KIND") if subsys else []:
        name = _name(kind)
        if kind.flag("GHOST") or kind.flag("FLOATING_BASIS_CENTER"):
            continue
        if name.upper() in ("DEFAULT", DEFAULT):
            yield DEFAULT, name, kind
            continue
        letters = _LETTERS.match(name)
        yield (kind.word("ELEMENT", "ELEMENT_SYMBOL") or (letters[0] if letters else name)).capitalize(), name, kind


def several(force_eval: Section) -> dict[str, list[str]]:
    """The elements with kinds that differ and none of the element's own name: a frame cannot say which is meant."""
    contents: dict[str, dict[str, str]] = {}
    for element, name, kind in _all(force_eval):
        contents.setdefault(element, {})[name] = "".join(
            i.render() if isinstance(i, Section) else f"{i.name} {i.value}\n"
            for i in kind.items
            if i.name not in ("ELEMENT", "ELEMENT_SYMBOL")
        )
    return {
        element: list(names)
        for element, names in contents.items()
        if element != DEFAULT and len(set(names.values())) > 1 and element not in {n.capitalize() for n in names}
    }


def check_names(force_eval: Section) -> None:
    """Raise BadData for a &KIND that does not say whose it is."""
    subsys = force_eval.find("SUBSYS")
    for kind in subsys.sections("KIND") if subsys else []:
        if not kind.parameter:
            raise kind.line.error("&KIND without a name", "write the element behind it, as in &KIND H")


def keep_first(force_eval: Section) -> None:
    """Leave one kind of each element that has several: for a single atom they are all the same."""
    for names in several(force_eval).values():
        subsys = force_eval.ensure("SUBSYS")
        subsys.items = [i for i in subsys.items if i.name != "KIND" or _name(i) not in names[1:]]


def _name(kind: Section | Keyword) -> str:
    return kind.parameter.split()[0] if isinstance(kind, Section) and kind.parameter else DEFAULT


def labels(force_eval: Section) -> list[str]:
    """The kinds of the atoms in the template's own &COORD, in order."""
    coord = force_eval.find("SUBSYS/COORD")
    words = ("SCALED", "UNIT")
    return [i.name for i in coord.items if not isinstance(i, Section) and i.name not in words] if coord else []


def of_frame(force_eval: Section, symbols: list[str], labelled: list[str]) -> list[str]:
    """The kind of each atom of a frame.

    `labelled` are the kinds in the template's coordinates; they count where an element has several, if the frame's
    atoms are in the template's order. Raises ValueError if they are not.
    """
    names = kinds(force_eval)
    whose = {name.upper(): element for element, name, _ in _all(force_eval)}
    own = {name.upper(): name for _, name, _ in _all(force_eval)}
    unclear = sorted(set(several(force_eval)) & set(symbols))
    if not unclear:
        return [names.get(symbol, symbol) for symbol in symbols]
    if [whose.get(label.upper(), label.capitalize()) for label in labelled] != symbols:
        raise ValueError(f"the template has several &KINDs of {unclear[0]}, and its &COORD other atoms than the frame")
    return [own[label.upper()] if s in unclear else names.get(s, s) for s, label in zip(symbols, labelled, strict=True)]


def check(settings: Settings, elements: set[str], where: str, lines: dict[str, int]) -> list[str]:
    """Raise BadData for the first element without a &KIND; returns a note of those that no frame needs.

    `where` and `lines` place the template's sections.
    """
    force_eval = template.only(template.parse(settings["template"], where), "FORCE_EVAL")
    own_kinds = kinds(force_eval)
    place = f"{where}:{lines.get('SUBSYS') or lines.get('FORCE_EVAL') or 1}"
    has = f"it has {', '.join(sorted(own_kinds))}" if own_kinds else "it has none"
    if own_kinds and not {*elements, DEFAULT} & set(own_kinds):
        raise BadData(f"{place}: no &KIND is for {', '.join(sorted(elements))}, which the data hold", has)
    qs = force_eval.find("DFT/QS")
    free = qs is not None and qs.word("METHOD") in WITHOUT_KINDS
    for element in sorted(elements):
        if element not in own_kinds and DEFAULT not in own_kinds and not free:
            raise BadData(f"{place}: no &KIND {element}, but the data hold {element}", f"add one to &SUBSYS; {has}")
    for element, names in several(force_eval).items():
        if element in elements and "labels" not in settings:
            raise BadData(
                f"{place}: {' and '.join(f'&KIND {n}' for n in names)} are all for {element}",
                "leave one, or give the template a &COORD with the atoms in the frames' order",
            )
    spare = sorted(set(own_kinds) - elements - {DEFAULT})
    return [f"{where}: no frame needs its &KIND {', '.join(spare)}"] if spare else []
