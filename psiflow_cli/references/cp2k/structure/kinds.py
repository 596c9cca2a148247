"""Which &KIND is whose: CP2K's own rules, by the labels of the template's atoms where an element has several.

CP2K looks for the &KIND of a label by the label itself, by what stands before its underscore, by its element, and takes
&KIND DEFAULT last (`read_qs_kind` in qs_kind_types.F). Case never matters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from psiflow_cli.references.cp2k.template import Keyword, Section

_DERIVED = re.compile(r"([^_]*?)\d*(?:_.*)?")
_WITHOUT_UNDERSCORE = re.compile(r"(\w{1,2}?)_(?!.*_ghost)")
_GHOSTS = ("GHOST", "FLOATING_BASIS_CENTER")
WITHOUT_KINDS = ("XTB", "DFTB", "MNDO", "MNDOD", "AM1", "PM3", "PM6", "PM6-FM", "PDG", "RM1", "PNNL")
"""Methods with parameters of their own, which go by the element and read no label."""
DEFAULT = "*"
_SAME_ATOM = ("MAGNETIZATION", "BS", "ELEC_CONF", "MASS")
"""What kinds of an element may differ in and still be the same single atom."""


class Kinds:
    """The &KINDs of a template."""

    def __init__(self, force_eval: Section) -> None:
        subsys, qs = force_eval.find("SUBSYS"), force_eval.find("DFT/QS")
        topology = force_eval.find("SUBSYS/TOPOLOGY")
        self.without = qs is not None and qs.word("METHOD") in WITHOUT_KINDS
        stated = topology is not None and topology.get("USE_ELEMENT_AS_KIND") is not None
        self.by_element = topology.flag("USE_ELEMENT_AS_KIND") if topology and stated else self.without
        """Whether CP2K reads no label, but the element."""
        self._sections: dict[str, Section] = {}
        for section in subsys.sections("KIND") if subsys else []:
            self._sections.setdefault(_name(section).upper(), section)

    def element(self, label: str) -> str:
        """The element of a label: what its &KIND says, else without an underscore and what follows, and digits."""
        section = self._sections.get(label.upper())
        match = _DERIVED.fullmatch(label)
        return ((section and section.word("ELEMENT", "ELEMENT_SYMBOL")) or (match[1] if match else label)).capitalize()

    def section(self, label: str) -> Section | None:
        """The &KIND that CP2K takes for a label."""
        before = _WITHOUT_UNDERSCORE.match(label)
        for name in (label, before[1] if before else "", self.element(label), "DEFAULT"):
            if name.upper() in self._sections:
                return self._sections[name.upper()]
        return None

    def name(self, label: str) -> str:
        """A label as it is written for CP2K: a &KIND as the template spells it."""
        section = self._sections.get(label.upper())
        element = self.element(label)
        return _name(section) if section else f"{element}{label[len(element) :]}"

    def ghost(self, label: str) -> str:
        """What makes the centres of this label no atoms, `GHOST` or `FLOATING_BASIS_CENTER`; else empty."""
        section = self.section(label)
        return next((word for word in _GHOSTS if section and section.flag(word)), "")

    @property
    def ghosts(self) -> list[str]:
        """The names of the kinds that are no atoms'."""
        return [_name(s) for s in self._sections.values() if any(s.flag(word) for word in _GHOSTS)]

    def of_elements(self) -> dict[str, str]:
        """The name of the &KIND of each element where no label says it, `*` for &KIND DEFAULT.

        A kind that is named like the element wins over one that says ELEMENT or has a suffix, such as O1.
        """
        named: dict[str, str] = {}
        stated: dict[str, str] = {}
        for element, name in self._atoms():
            if element in (DEFAULT, name.capitalize()):
                named[element] = name
            else:
                stated.setdefault(element, name)
        return {**stated, **named}

    def _atoms(self) -> Iterator[tuple[str, str]]:
        """The element and the name of each &KIND that can be an atom's."""
        for name, section in self._sections.items():
            if not any(section.flag(word) for word in _GHOSTS):
                yield (DEFAULT if name in ("DEFAULT", DEFAULT) else self.element(name)), _name(section)

    def contents(self, label: str, but: Sequence[str] = ()) -> str:
        """What the &KIND of a label says, except for the element and the items named in `but`."""
        section = self.section(label)
        return "".join(
            i.render() if isinstance(i, Section) else f"{i.name} {i.value}\n"
            for i in (section.items if section else [])
            if i.name not in ("ELEMENT", "ELEMENT_SYMBOL", *but)
        )

    def several(self, but: Sequence[str] = ()) -> dict[str, list[str]]:
        """The elements with kinds that differ, in more than the items `but`, and the names of these kinds."""
        names: dict[str, list[str]] = {}
        for element, name in self._atoms() if not self.by_element else ():
            names.setdefault(element, []).append(name)
        default = names.pop(DEFAULT, [])
        for element, own in names.items():
            if element not in {n.capitalize() for n in own}:
                own += default
        return {e: own for e, own in names.items() if len({self.contents(n, but) for n in own}) > 1}

    def used(self, labels: Sequence[str]) -> dict[str, dict[str, str]]:
        """Of each element with several kinds, a label for each of the different contents that `labels` use."""
        used: dict[str, dict[str, str]] = {}
        several = self.several()
        for label in labels:
            element = self.element(label)
            if element in several:
                used.setdefault(element, {}).setdefault(self.contents(label), label)
        return used


def check_names(force_eval: Section) -> None:
    """Raise BadData for a &KIND that does not say whose it is."""
    subsys = force_eval.find("SUBSYS")
    for kind in subsys.sections("KIND") if subsys else []:
        if not kind.parameter:
            raise kind.line.error("&KIND without a name", "write the element after it, as in &KIND H")


def keep_one(force_eval: Section) -> None:
    """Leave one kind of each element whose kinds are the same single atom: its own, or the first."""
    kinds = Kinds(force_eval)
    subsys = force_eval.ensure("SUBSYS")
    chosen = kinds.of_elements()
    for element, names in kinds.several().items():
        if element not in kinds.several(_SAME_ATOM):
            replaced = {n.upper() for n in names} - {chosen[element].upper(), "DEFAULT"}
            subsys.items = [i for i in subsys.items if i.name != "KIND" or _name(i).upper() not in replaced]


def _name(kind: Section | Keyword) -> str:
    return kind.parameter.split()[0] if isinstance(kind, Section) and kind.parameter else DEFAULT
