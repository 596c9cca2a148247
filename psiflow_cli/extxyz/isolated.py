"""Frames that are there for the energy of an atom alone."""

from __future__ import annotations

from collections.abc import Iterable

from psiflow_cli.extxyz import comment
from psiflow_cli.extxyz.frame import Frame

_KEY, _VALUE = "config_type", "IsolatedAtom"


def is_isolated_atom(frame: Frame) -> bool:
    """One atom, and either no periodicity or `config_type=IsolatedAtom` (a one-atom crystal is no isolated atom)."""
    return frame.natoms == 1 and (not any(frame.pbc) or frame.info.get(_KEY) == _VALUE)


def is_marked(natoms: int, pairs: Iterable[comment.Pair]) -> bool:
    """Whether a frame says itself that it is one, as those of psiflow's training files do."""
    return natoms == 1 and any(p.key == _KEY and p.value is not None and comment.text(p.value) == _VALUE for p in pairs)
