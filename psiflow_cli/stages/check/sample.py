"""One frame with its labels, as the checks see it; what is wrong with a label is found on the way."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple, cast

from psiflow_cli.errors import BadData
from psiflow_cli.extxyz import LABELS, Frame, label
from psiflow_cli.extxyz.frame import is_isolated_atom
from psiflow_cli.stages.check.findings import ERROR, Findings, Where, where

if TYPE_CHECKING:
    from psiflow_cli.messages import Labels

Keys = dict[str, str] | None
_PREFIX = re.compile(r"^.*?: frame \d+: ")
_CHECKS = {"not a finite number": "nan", "could both be": "spelling", "no key": "keys", "no column": "keys"}
"""The check that a message belongs to; any other is about a label's form."""


class Sample(NamedTuple):
    """A frame and those of its labels that can be read."""

    frame: Frame
    where: Where
    isolated: bool
    energy: float | None  # eV
    forces: list[list[float]] | None  # eV/Å
    stress: list[float] | None  # [xx, yy, zz, yz, xz, xy] in eV/Å³

    @property
    def natoms(self) -> int:
        return self.frame.natoms


def read(frame: Frame, keys: Keys, findings: Findings) -> Sample:
    """The frame with its labels; one that cannot be read is a finding, and missing."""
    place = where(frame)
    labels: dict[str, object] = dict.fromkeys(LABELS)
    for name in LABELS:
        try:
            labels[name] = label(frame, name, keys)
        except BadData as error:
            what = _PREFIX.sub("", error.message)
            check = next((check for words, check in _CHECKS.items() if words in what), "label")
            findings.add(ERROR, check, what, error.hint, f"{name} {check}").see(place)
    return Sample(frame, place, is_isolated_atom(frame), **cast("Labels", labels))
