"""Labels that another run has made, of the same frame by the same reference, taken over into this one's journal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

from psiflow_cli import extxyz
from psiflow_cli.console import note
from psiflow_cli.errors import NoInput
from psiflow_cli.extxyz import Frame
from psiflow_cli.stages.core.ids import IdSet
from psiflow_cli.stages.core.results import Results

if TYPE_CHECKING:
    from psiflow_cli.messages import Label

_AT_ONCE = 1000


def take(files: tuple[str, ...], reference: str, inputs: tuple[str, ...], results: Results, needed: IdSet) -> IdSet:
    """Journal the labels in `files` that `needed` frames lack; returns the frames that have one now.

    A label counts only if its frame still has the identity that it was labelled under: an edited one does not.
    """
    taken = IdSet(results.distinct)
    for name in files:
        if not Path(name).is_file():
            raise NoInput(f"{name}: no such file", "--from names files that psiflow label has written")
        ids: list[str] = []
        labels: list[Label] = []
        for key, label in _labels(name, reference, inputs):
            if key in needed and key not in taken:
                taken.add(key)
                ids.append(f"{key:016x}")
                labels.append(label)
            if len(ids) == _AT_ONCE:
                results.add(ids, labels, 0.0, 0)
                ids, labels = [], []
        if ids:
            results.add(ids, labels, 0.0, 0)
    if files:
        note(f"{len(taken)} labels are taken over from {', '.join(files)}")
    return taken


def _labels(name: str, reference: str, inputs: tuple[str, ...]) -> Iterator[tuple[int, Label]]:
    for frame in extxyz.read(Path(name)):
        info = frame.info
        if info.get("psiflow_reference") != reference or "psiflow_code" not in info:
            continue
        identity = extxyz.frame_id(frame, inputs)
        if info.get("psiflow_id") == identity and (label := _label(frame)):
            yield int(identity, 16), label


def _label(frame: Frame) -> Label | None:
    """What a worker would have sent; None for a frame without energy or forces."""
    numbers = extxyz.labels(frame)
    if numbers["energy"] is None or numbers["forces"] is None:
        return None
    label = cast("Label", {**numbers, "code": frame.info["psiflow_code"]})
    if "psiflow_recovery" in frame.info:
        label["recovery"] = str(frame.info["psiflow_recovery"])
    more = str(frame.info.get(extxyz.MORE, "")).split()
    info = {name: frame.info[name] for name in more if name in frame.info}
    arrays = {name: frame.column(name) for name in more if name not in info}
    if info:
        label["info"] = info
    if arrays:
        label["arrays"] = arrays
    return label
