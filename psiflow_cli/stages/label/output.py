"""Frames with their labels, and failed ones with their reasons, as they are written."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

from psiflow_cli import extxyz, voigt
from psiflow_cli.console import note
from psiflow_cli.errors import counted
from psiflow_cli.stages.core import failed_frames
from psiflow_cli.stages.core.results import Results
from psiflow_cli.stages.core.workspace import Workspace
from psiflow_cli.stages.label.subtraction import Subtraction

if TYPE_CHECKING:
    from psiflow_cli.messages import Failure, Label

STALE = (*extxyz.FAILURE, "psiflow_recovery", extxyz.MORE)
LABELS = ("energy", "forces", "stress")


def write(
    workspace: Workspace, ids: array[int], results: Results, reference: str, failed: str,
    subtraction: Subtraction | None = None,
) -> None:  # fmt: skip
    """Good frames to the output, failed ones to the file `failed`, which goes when none are left.

    `ids` are those of the workspace's frames, `reference` is the method's fingerprint. With a `subtraction`, the
    output has the labels that the frames came with, less those of the reference.
    """
    workspace.publish(_labelled(workspace, ids, results, reference, subtraction))
    if results.failures:
        workspace.publish(_failed(workspace, ids, results, reference), failed)
    else:
        workspace.run.remove_own(failed)


def _labelled(
    workspace: Workspace, ids: array[int], results: Results, reference: str, subtraction: Subtraction | None
) -> Iterator[str]:
    replaced = 0
    codes = set()
    for key, frame in zip(ids, workspace.frames(), strict=True):
        if key in results.failures:
            continue
        label = cast("Label", results.of(key))
        codes.add(label["code"])
        method = reference
        if subtraction:
            label, method = subtraction.difference(frame, label, reference)
        replaced += bool(extxyz.label_names(frame)) and not subtraction
        yield with_label(frame, key, label, method)
    if replaced:
        note(f"{counted(replaced, 'frame')} already had labels, which are replaced in the output")
    if len(codes) > 1:
        versions = " and ".join(sorted(codes))
        note(f"warning: labels of {versions} are mixed in the output; recompute the old ones with --strict-version")


def with_label(frame: extxyz.Frame, key: int, label: Label, reference: str) -> str:
    """The frame's text with a label and where it comes from, in place of what it had."""
    info, arrays = label.get("info", {}), label.get("arrays", {})
    return extxyz.render(
        frame,
        set_info={
            "energy": label["energy"],
            **({"stress": voigt.to_matrix(label["stress"])} if label["stress"] else {}),
            "psiflow_id": f"{key:016x}", "psiflow_reference": reference, "psiflow_code": label["code"],
            **({"psiflow_recovery": label["recovery"]} if "recovery" in label else {}),
            **({extxyz.MORE: " ".join([*info, *arrays])} if info or arrays else {}), **info,
        },
        set_columns={
            **({"forces": ("R", label["forces"])} if label["forces"] else {}),
            **{name: ("R", values) for name, values in arrays.items()}},
        drop=tuple(
            name
            for name in (*extxyz.label_names(frame), *STALE)
            if (name not in LABELS or label.get(name) is None) and name not in (*info, *arrays)
        ),
    )  # fmt: skip


def _failed(workspace: Workspace, ids: array[int], results: Results, reference: str) -> Iterator[str]:
    for key, frame in zip(ids, workspace.frames(), strict=True):
        if key in results.failures:
            yield with_failure(frame, key, cast("Failure", results.of(key)), reference)


def with_failure(frame: extxyz.Frame, key: int, failure: Failure, reference: str) -> str:
    """The frame's text with why it has no label."""
    drop = tuple(extxyz.label_names(frame))
    return failed_frames.text(frame, failure, drop, psiflow_id=f"{key:016x}", psiflow_reference=reference)
