"""What can be wrong with training data as a whole, found before anything is submitted."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field

from psiflow_cli import extxyz
from psiflow_cli.errors import BadData
from psiflow_cli.extxyz import Frame

WEIGHTS = ("config_weight", "config_energy_weight", "config_forces_weight", "config_stress_weight")
"""Keys by which a frame, or one of its labels, counts for more or less than others."""

Numbers = Sequence[int | None]


@dataclass
class Levels:
    """Which methods have labelled the frames, and where each was seen first."""

    keys: Mapping[str, str] | None
    """Where the user says that the labels are: the fingerprint speaks of those that psiflow writes."""
    first: dict[tuple[str, str], str] = field(default_factory=dict)
    """Where each method was seen first, in each head."""
    heads: dict[str, str] = field(default_factory=dict)
    """Where each value of `head` was seen first, by which MACE tells methods apart in one file."""
    subtracted: dict[str, str] = field(default_factory=dict)
    """Where each reference that `label --subtract-from` has subtracted was seen first; "" for none."""
    headless: str = ""  # where a frame without a head was seen first

    def see(self, frame: Frame) -> None:
        """Note the method of one frame."""
        method = frame.info.get("psiflow_reference")
        if method is not None and (self.keys or {}).get("energy", "energy") == "energy":
            code = frame.info.get("psiflow_code", "")
            self.first.setdefault((head_of(frame), f"{method}{f' ({code})' if code else ''}"), frame.where)
        if head := head_of(frame):
            self.heads.setdefault(head, frame.where)
        else:
            self.headless = self.headless or frame.where

    def see_any(self, frame: Frame) -> None:
        """Note what was subtracted from the labels of a frame, which may be an isolated atom."""
        self.subtracted.setdefault(str(frame.info.get("subtracted", "")), frame.where)

    def check(self, mixed: bool, apart: bool = False) -> list[str]:
        """Raise BadData for labels of more than one method, or with `mixed` only note them.

        `apart`: each head is a method of its own, and every frame has one.
        """
        if apart and self.headless:
            head, where = next(iter(self.heads.items()))
            problem = f"{self.headless}: no head, but head={head} in {where}"
            raise BadData(problem, "give every frame its head")
        notes = [*self._methods(None)] if not apart else [note for head in self.heads for note in self._methods(head)]
        if not apart:
            notes += _contradiction("head", self.heads)
        if not notes and len(self.subtracted) > 1:
            (here, before), (there, where) = list(self.subtracted.items())[:2]
            what, less = f"{there or 'nothing'} was subtracted from its labels", here or "nothing"
            notes = [f"{where}: {what}, but {less} from those of {before}"]
        if notes and not mixed:
            raise BadData(notes[0], "label all frames with one method, or allow this with --mixed-references")
        return notes

    def _methods(self, head: str | None) -> list[str]:
        """The contradiction between the references of a head (None: of all frames), if there is one."""
        by_method: dict[str, tuple[str, str]] = {}
        for (of_head, name), where in self.first.items():
            if head in (None, of_head):
                by_method.setdefault(name.partition(" ")[0], (name, where))
        return _contradiction("psiflow_reference", dict(by_method.values()))


def head_of(frame: Frame) -> str:
    """The head that a frame belongs to, or nothing."""
    return str(frame.info.get("head", ""))


def _contradiction(key: str, first: Mapping[str, str]) -> list[str]:
    if len(first) < 2:
        return []
    (here, before), (there, where) = list(first.items())[:2]
    return [f"{where}: labelled by another method: {key}={there}, but {key}={here} in {before}"]


def check_overlap(new: Numbers, valid: Numbers, where: Callable[[str, int], str]) -> list[str]:
    """Raise BadData for a structure that is to be trained on and validated with, unless the two sets are the same.

    `new` and `valid` are numbers of structures, one for each frame of the `frames` and of the `valid` file (None: an
    isolated atom); `where` says where the frame of this number in one of them is.
    """
    trained, validated = ({key for key in keys if key is not None} for keys in (new, valid))
    common = trained & validated
    if not common:
        return []
    if trained == validated:
        # that must be meant
        return ["the validation data are the training data: their errors say nothing about new structures"]
    number = next(number for number, key in enumerate(valid) if key in common)
    more = f", and {len(common) - 1} more" if len(common) > 1 else ""
    also = where("frames", new.index(valid[number]))
    problem = f"{where('valid', number)}: also a training frame ({also}{more})"
    raise BadData(problem, "remove it from one of the files, or use psiflow split, whose parts share no structure")


def check_elements(trained: set[str], first: dict[str, str], drawn: bool) -> None:
    """Raise BadData for an element that no training frame has; `first` says where each was seen first."""
    for element in sorted(first.keys() - trained):
        raise BadData(
            f"{first[element]}: {element} occurs in no training frame, so nothing about it can be learned",
            "choose different validation frames with --seed, or give --valid FILE"
            if drawn
            else "add frames with this element to the training data",
        )


def check_heads(first: Mapping[str, str], present: Set[tuple[str, str]]) -> None:
    """Raise BadData for a head without frames in a part; `first` says where each was seen first."""
    for head, where in first.items():
        for part, purpose in (("train", "train"), ("valid", "validate")):
            if (part, head) not in present:
                hint = "give more frames, --valid FILE|SHARE, or the frames of one head"
                raise BadData(f"{where}: no frames of head={head} to {purpose} on", hint)


def check_weights(frame: Frame) -> str:
    """Where and how this frame counts more or less than others, or "". Raises BadData for an invalid weight."""
    weighted = ""
    for key in WEIGHTS:
        value = frame.info.get(key, 1.0)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
            raise BadData(
                f"{frame.where}: {key}={str(value)[:40]} is not a weight", "a weight is a number that is not negative"
            )
        if value != 1:
            weighted = f"{frame.where}: {key}={value}"
    return weighted


def stress_notes(with_stress: int, periodic: int, unused: int) -> list[str]:
    """What to say where only some of the periodic frames have a stress, and where there is one that is not used."""
    notes = [extxyz.unused_stress_note(unused)] if unused else []
    if 0 < with_stress < periodic:
        some = f"{with_stress} of {periodic} periodic frames have a stress"
        notes.append(f"{some}: for the others only energy and forces are trained on")
    return notes


def about(frame: Frame) -> dict[str, object]:
    """What a trainer, or a later training, has to know of a frame: what it is, how much it counts, who labelled it."""
    return {
        k: v
        for k, v in frame.info.items()
        if k in ("config_type", "psiflow_reference", "psiflow_code", "subtracted", *WEIGHTS)
    }
