"""What can be wrong with training data as a whole, found before anything is submitted."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
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
    first: dict[str, str] = field(default_factory=dict)
    heads: dict[str, str] = field(default_factory=dict)
    """Where each value of `head` was seen first, by which MACE tells methods apart in one file."""

    def see(self, frame: Frame) -> None:
        """Note the method of one frame."""
        method = frame.info.get("psiflow_reference")
        if method is not None and (self.keys or {}).get("energy", "energy") == "energy":
            code = frame.info.get("psiflow_code", "")
            self.first.setdefault(f"{method}{f' ({code})' if code else ''}", frame.where)
        if "head" in frame.info:
            self.heads.setdefault(str(frame.info["head"]), frame.where)

    def check(self, mixed: bool) -> list[str]:
        """Raise BadData for labels of more than one method, or with `mixed` only note them."""
        methods = {name.partition(" ")[0]: name for name in reversed(self.first)}
        notes = []
        for key, names, where in (
            ("psiflow_reference", list(reversed(methods.values())), self.first),
            ("head", list(self.heads), self.heads),
        ):
            if len(names) > 1:
                here, there = names[:2]
                what = f"labelled by another method: {key}={there}, but {key}={here} in {where[here]}"
                notes.append(f"{where[there]}: {what}")
        if notes and not mixed:
            raise BadData(notes[0], "label all frames with one; --mixed-references takes them together")
        return notes


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
        return ["validation data are the training data: their errors say nothing about new structures"]
    number = next(number for number, key in enumerate(valid) if key in common)
    more = f", and {len(common) - 1} more" if len(common) > 1 else ""
    also = where("frames", new.index(valid[number]))
    problem = f"{where('valid', number)}: also a training frame ({also}{more})"
    raise BadData(problem, "remove it from one of the files; psiflow split makes parts that share none")


def check_elements(trained: set[str], first: dict[str, str], drawn: bool) -> None:
    """Raise BadData for an element that no training frame has; `first` says where each was seen first."""
    for element in sorted(first.keys() - trained):
        raise BadData(
            f"{first[element]}: {element} is in no training frame: nothing about it could be learned",
            "draw other frames with --seed, or give --valid FILE" if drawn else "add frames with it to the others",
        )


def check_weights(frame: Frame) -> str:
    """Where and how this frame counts more or less than others, or "". Raises BadData for a weight that is none."""
    weighted = ""
    for key in WEIGHTS:
        value = frame.info.get(key, 1.0)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
            raise BadData(f"{frame.where}: {key}={str(value)[:40]} is no weight", "a number that is not negative")
        if value != 1:
            weighted = f"{frame.where}: {key}={value}"
    return weighted


def stress_notes(with_stress: int, periodic: int, unused: int) -> list[str]:
    """What to say where only some of the periodic frames have a stress, and where there is one that is not used."""
    notes = [extxyz.unused_stress_note(unused)] if unused else []
    if 0 < with_stress < periodic:
        some = f"{with_stress} of {periodic} periodic frames have a stress"
        notes.append(f"{some}: the others count by energy and forces")
    return notes


def about(frame: Frame) -> dict[str, object]:
    """What a trainer, or a later training, has to know of a frame: what it is, how much it counts, who labelled it."""
    return {k: v for k, v in frame.info.items() if k in ("config_type", "psiflow_reference", "psiflow_code", *WEIGHTS)}
