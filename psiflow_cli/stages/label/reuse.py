"""Labels that need not be computed: of the same structure by the same reference, in a file or among the frames.

What is the same structure is for `extxyz.structure` to say. The order of the atoms must be the same, too, so that each
atom gets its own forces; and since a rotated structure is another one, forces and stress are along the same axes.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, cast

from psiflow_cli import extxyz
from psiflow_cli.console import note
from psiflow_cli.errors import NoInput, counted
from psiflow_cli.extxyz import Frame
from psiflow_cli.stages.core.ids import IdSet
from psiflow_cli.stages.core.results import Results
from psiflow_cli.stages.core.structures import Copies, Structures

if TYPE_CHECKING:
    from psiflow_cli.messages import Label

_AT_ONCE = 1000

Read = Callable[[str], Iterator[Frame]]
Pairs = tuple["array[int]", "array[int]"]


class Reuse:
    """What is known of the frames that are to be labelled, and the labels that others have."""

    def __init__(
        self, reference: str, inputs: tuple[str, ...], files: tuple[str, ...], own: str | None, read: Read
    ) -> None:
        """Labels count that are by this reference (its fingerprint) and in the files, or in what this run wrote before.

        `inputs` are what else of a frame the reference reads; `read` gives the frames of a file in whatever format.
        """
        self._reference, self._inputs, self._read = reference, inputs, read
        self._files = (*files, own) if own and own not in files else files
        self._named = bool(files)
        self._structures = Structures(inputs=inputs, ordered=True)
        for name in files:
            if not Path(name).is_file():
                raise NoInput(f"{name}: no such file", "--from takes files that psiflow label wrote")

    def see(self, frame: Frame) -> None:
        """Note one of the frames, in order."""
        self._structures.add(frame)

    def _labels(self, ids: array[int], remaining: IdSet) -> Iterator[tuple[int, Label]]:
        """The ids of frames in `remaining` with the labels that there are for them; `ids`: of all frames, in order.

        A label counts only where `psiflow_id` shows that it was computed for the frame that it stands with, or for
        the one that needs it: if the atoms were moved since, it does not.
        """
        changed = 0
        for frame, identity in self._labelled():
            self._structures.add(frame)
            key = int(identity, 16)
            if key in remaining and frame.info.get("psiflow_id") == identity and (label := _label(frame)):
                remaining.discard(key)
                yield key, label
        copies = Copies(self._structures.firsts(), len(ids))
        others = range(len(ids), len(self._structures))
        again = any(ids[index] in remaining for number in others for index in copies.of(number))
        for number, (frame, identity) in zip(others, self._labelled() if again else (), strict=False):
            for key in {ids[index] for index in copies.of(number) if ids[index] in remaining}:
                if frame.info.get("psiflow_id") not in (identity, f"{key:016x}"):
                    changed += 1
                elif label := _label(frame):
                    remaining.discard(key)
                    yield key, label
        if changed:
            note(
                f"not reusing {counted(changed, 'label')}: the file was changed, because the positions no longer match "
                "their psiflow_id"
            )

    def take(self, ids: array[int], needed: IdSet, results: Results | None) -> None:
        """Journal the labels that there are for needed frames (without results: only look), which are then needed no
        longer."""
        labels, count = self._labels(ids, needed.copy()), 0
        while some := list(islice(labels, _AT_ONCE)):
            if results:
                results.add([f"{key:016x}" for key, _ in some], [label for _, label in some], 0.0, 0)
            for key, _ in some:
                needed.discard(key)
            count += len(some)
        if self._named or count:
            note(f"reusing {counted(count, 'label')} from {', '.join(self._files)}")

    def copies(self, ids: array[int], needed: IdSet, results: Results) -> Pairs:
        """Needed frames that are copies of one that has a label, or gets one: their ids, each with the other's.

        They are then needed no longer.
        """
        pairs = array("Q"), array("Q")
        for group in Copies(self._structures.firsts(), len(ids)).groups():
            keys = list(dict.fromkeys(ids[index] for index in group))
            known = [key for key in keys if key not in needed and key not in results.failures]
            wanted = [key for key in keys if key in needed]
            original = (known or wanted or [0])[0]
            for key in wanted:
                if key != original:
                    needed.discard(key)
                    pairs[0].append(key)
                    pairs[1].append(original)
        return pairs

    def _labelled(self) -> Iterator[tuple[Frame, str]]:
        """The frames of the files that have a label by the reference, with the ids of what they are now."""
        for name in self._files:
            for frame in self._read(name):
                if frame.info.get("psiflow_reference") == self._reference and "psiflow_code" in frame.info:
                    yield frame, extxyz.frame_id(frame, self._inputs)


def hand_on(pairs: Pairs, results: Results) -> None:
    """Journal for each of the first what the second has."""
    both = zip(*pairs, strict=True)
    while some := list(islice(both, _AT_ONCE)):
        results.add([f"{key:016x}" for key, _ in some], [results.of(original) for _, original in some], 0.0, 0)


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
