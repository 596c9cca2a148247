"""Labelled frames as a trainer needs them: checked, split, and in one spelling of the labels."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from psiflow_cli import extxyz, voigt
from psiflow_cli.errors import BadData
from psiflow_cli.extxyz import Frame
from psiflow_cli.extxyz.frame import is_isolated_atom
from psiflow_cli.extxyz.labelling import near_names
from psiflow_cli.stages.core.structures import Structures
from psiflow_cli.stages.select.split import assign
from psiflow_cli.stages.train import data_checks
from psiflow_cli.stages.train.e0s import E0S, is_ion, note_atom
from psiflow_cli.stages.train.unit_checks import UnitChecks

_LOOKED_AT = 100  # the first of the frames, in which a stress under another name is looked for
Keys = dict[str, str] | None
Reader = Callable[[], Iterator[Frame]]


@dataclass(frozen=True)
class Sources:
    """Where the frames come from; every one is read more than once."""

    frames: Reader
    keys: Keys  # the names of the labels in `frames` and `valid`
    valid: Reader | None = None  # a validation file, if there is one
    old: dict[str, Reader] = field(default_factory=dict)
    """What a model to start from was trained on and validated with: `train` and `valid`."""
    replay: bool = True  # whether old frames that are not among the new ones are used, too

    def __iter__(self) -> Iterator[tuple[Frame, Keys]]:
        """Every frame, with the names of its labels, in the order of `Dataset.parts`."""
        for reader in (self.frames, self.valid):
            for frame in reader() if reader else ():
                yield frame, self.keys
        for part in ("train", "valid") if self.replay else ():
            for frame in self.old[part]() if part in self.old else ():
                yield frame, None

    def where(self, source: str, number: int) -> str:
        """Where a frame of `frames` or of `valid` is."""
        reader = self.frames if source == "frames" or self.valid is None else self.valid
        return next(islice(reader(), number, None)).where


@dataclass
class Dataset:
    """What is known of the training and validation frames after reading them once."""

    levels: data_checks.Levels
    units: UnitChecks = field(default_factory=UnitChecks)
    parts: list[str] = field(default_factory=list)
    """`train`, `valid`, `atom` or nothing (not used) for each of the frames."""
    elements: set[str] = field(default_factory=set)
    atoms: dict[tuple[str, str, float, bool], str] = field(default_factory=dict)
    """Where an isolated atom of this head, element, energy (eV), and whether it is an ion, was seen first."""
    heads: list[str] = field(default_factory=list)  # that are to be trained; empty where it is one model of one head
    frames: int = 0
    with_stress: int = 0
    stressed: list[bool] = field(default_factory=list)
    """Whether each frame of `parts` has a stress that can be used."""
    periodic: int = 0  # frames that are periodic in all three directions
    unused_stress: int = 0  # frames whose stress is not used
    unread_stress: str = ""  # what to say of a stress under a name that nobody reads
    crystals_of_one_atom: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    replayed: int = 0  # frames that were trained on before and are not among the new ones
    first: dict[str, str] = field(default_factory=dict)  # where each element was seen first
    weighted: str = ""  # where a frame counts more or less than others, if one does

    def count(self, part: str) -> int:
        """How many frames a part has."""
        return self.parts.count(part)

    def has_stress(self, part: str) -> bool:
        """Whether a frame of a part has a stress that can be used."""
        return any(name == part and stressed for name, stressed in zip(self.parts, self.stressed, strict=True))

    def e0s(self, head: str | None = None) -> E0S:
        """Energies of the isolated atoms of a head (None: of all frames); an ion's where there is no neutral one.

        Raises BadData where two contradict each other.
        """
        energies: E0S = {}
        seen = [(*key, where) for key, where in self.atoms.items() if head in (None, key[0])]
        neutral = {element for _, element, _, is_an_ion, _ in seen if not is_an_ion}
        for _, element, energy, is_an_ion, where in seen:
            if not is_an_ion or element not in neutral:
                note_atom(element, energy, where, energies)
        return energies

    def copies(self, seed: int, member: int) -> list[int]:
        """How often each frame is in a bootstrap: as many training frames as there are, drawn with replacement."""
        training = [index for index, part in enumerate(self.parts) if part == "train"]
        drawn = Counter(random.Random(f"bootstrap {seed} {member}").choices(training, k=len(training)))
        return [drawn[index] if part == "train" else 1 for index, part in enumerate(self.parts)]


@dataclass
class _Seen:
    """What was read of one source: for each frame its number, then its structure's, None for an isolated atom, its
    elements, and its head."""

    ids: list[int | None] = field(default_factory=list)
    elements: list[frozenset[str]] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)


def read(sources: Sources, share: float, seed: int, mixed: bool = False, apart: bool = False) -> Dataset:
    """Check every frame; without a validation file, draw `share` of the distinct new structures for it.

    Structures that an old model knows stay in the part that they were in. With `mixed`, labels of several methods are
    taken together; with `apart`, frames of several heads are so many methods, and each has frames in every part.
    Raises BadData for what cannot be trained on; see `data_checks`, too.
    """
    data = Dataset(data_checks.Levels(sources.keys))
    structures = Structures()
    new = _survey(sources.frames, sources.keys, data, structures)
    valid = _survey(sources.valid, sources.keys, data, structures)
    aside = data if sources.replay else Dataset(data_checks.Levels(None))
    old = {
        part: _survey(sources.old[part], None, aside, structures) for part in ("train", "valid") if part in sources.old
    }
    firsts = structures.firsts()
    for part_survey in (new, valid, *old.values()):
        part_survey.ids = [None if number is None else firsts[number] for number in part_survey.ids]
    known: dict[int, str] = {
        key: part for part, part_survey in old.items() for key in part_survey.ids if key is not None
    }
    data.heads = sorted(data.levels.heads) if apart and not mixed and len(data.levels.heads) > 1 else []
    shares = {"train": 1 - share, "valid": share} if not sources.valid else None
    data.parts = _drawn(new, shares, seed, known, data.heads)
    data.parts += ["atom" if key is None else "valid" for key in valid.ids]
    kinds = new.elements + valid.elements
    if sources.replay:
        taken = {*new.ids, *valid.ids}
        for part, part_survey in old.items():
            wanted = part == "train" or sources.valid is None
            parts = [part if wanted and key not in taken else "" for key in part_survey.ids]
            data.replayed += parts.count("train")
            data.parts += parts
            kinds += part_survey.elements
    for head in data.heads or (None,):
        data.e0s(head)
    data.notes += data_checks.check_overlap(new.ids, valid.ids, sources.where)
    trained = {e for part, elements in zip(data.parts, kinds, strict=True) if part == "train" for e in elements}
    data_checks.check_elements(trained, data.first, sources.valid is None)
    data.notes += data.levels.check(mixed, bool(data.heads))
    if data.heads:
        data_checks.check_heads(data.levels.heads, {*zip(data.parts, new.heads + valid.heads, strict=False)})
    data.notes += data_checks.stress_notes(data.with_stress, data.periodic, data.unused_stress)
    data.notes += [data.unread_stress] if data.unread_stress else []
    data.notes += data.units.notes(mixed or len(data.levels.heads) > 1)
    return data


def _survey(reader: Reader | None, keys: Keys, data: Dataset, structures: Structures) -> _Seen:
    part = _Seen()
    kinds: dict[frozenset[str], frozenset[str]] = {}
    for frame in reader() if reader else ():
        part.heads.append(data_checks.head_of(frame))
        if _check(frame, keys, data):
            part.ids.append(None)
            part.elements.append(frozenset())
            continue
        part.ids.append(len(structures))
        structures.add(frame)
        elements = frozenset(frame.symbols)
        part.elements.append(kinds.setdefault(elements, elements))
    return part


def _drawn(
    new: _Seen, shares: dict[str, float] | None, seed: int, known: dict[int, str], heads: list[str]
) -> list[str]:
    """The part of each new frame, drawn for each head apart; without shares, all are trained on.

    A structure of several heads is in one part, or the model would know it already.
    """
    if shares is None:
        return ["atom" if key is None else "train" for key in new.ids]
    parts = dict(known)
    for head in heads or (None,):
        own = [key for key, its in zip(new.ids, new.heads, strict=True) if head in (None, its)]
        parts |= assign([key for key in own if key is not None and key not in parts], shares, seed)
    return ["atom" if key is None else parts[key] for key in new.ids]


def _check(frame: Frame, keys: Keys, data: Dataset) -> bool:
    """Check one frame and take down what is in it; returns whether it is an isolated atom."""
    label = extxyz.labels(frame, keys)
    where = frame.where
    isolated = is_isolated_atom(frame)
    data.levels.see_any(frame)
    data.stressed.append(label["stress"] is not None)
    if label["energy"] is None:
        raise BadData(f"{where}: no energy", near_names.hint(frame, keys))
    if label["forces"] is None and not isolated:
        raise BadData(f"{where}: no forces", near_names.hint(frame, keys))
    data.units.see(frame, label, isolated)
    if isolated:
        data.atoms.setdefault((data_checks.head_of(frame), frame.symbols[0], label["energy"], is_ion(frame)), where)
        return True
    data.weighted = data_checks.check_weights(frame) or data.weighted
    data.levels.see(frame)
    if frame.natoms == 1:
        data.crystals_of_one_atom.update(frame.symbols)
    for element in set(frame.symbols) - data.elements:
        data.first[element] = where
        data.elements.add(element)
    data.frames += 1
    data.periodic += voigt.is_defined(frame.pbc)
    data.with_stress += label["stress"] is not None
    data.unused_stress += extxyz.unused_stress(frame, keys)
    if label["stress"] is None and not data.unread_stress and data.frames <= _LOOKED_AT:
        data.unread_stress = near_names.unread_stress(frame, keys)
    return False


def render(sources: Sources, data: Dataset, part: str, copies: list[int] | None = None) -> Iterator[str]:
    """The frames of one part, as often as `copies` says (else once), with their labels in the standard keys.

    Nothing is in them that a trainer could mistake for a label.
    """
    for index, (place, (frame, keys)) in enumerate(zip(data.parts, sources, strict=True)):
        if place != part:
            continue
        label = extxyz.labels(frame, keys)
        stress = label["stress"]
        text = extxyz.new_frame(
            frame.symbols,
            frame.positions,
            frame.cell,
            frame.pbc,
            info={
                "energy": label["energy"],
                **({"stress": voigt.to_matrix(stress)} if stress else {}),
                **data_checks.about(frame),
                **({"head": data_checks.head_of(frame)} if data.heads else {}),
            },
            columns={"forces": ("R", label["forces"] or ())},
        )
        yield from [text] * (copies[index] if copies else 1)
