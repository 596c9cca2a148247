"""A trained model as a bundle: assembled beside its place, then put there in one step."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, cast

from psiflow_cli import bundle, extxyz, toml
from psiflow_cli.console import note
from psiflow_cli.errors import PsiflowError
from psiflow_cli.runtime.session import Session
from psiflow_cli.stages.core import single
from psiflow_cli.stages.core.workspace import Workspace
from psiflow_cli.stages.plot import figures
from psiflow_cli.stages.plot.curves import of_training

if TYPE_CHECKING:
    from psiflow_cli.messages import Epoch, MemberMetrics, TrainedMember, TrainingFacts

KEPT_BYTES = 200 * 2**20
"""Training data of at most this size are kept with the model, compressed, for a later training that starts from it."""

UNFINISHED = "unfinished.model"
"""Where in the run directory an unfinished model is while a finished one is in its place."""


def publish(
    workspace: Workspace, session: Session, facts: TrainingFacts, trained: list[TrainedMember],
    curves: list[list[Epoch]], files: dict[str, str], stage_two: int | None,
) -> tuple[str, dict[str, MemberMetrics]]:  # fmt: skip
    """Make the bundle of members that were trained on and validated with `files`; returns its place and their metrics.

    `stage_two` is the epoch that begins the second stage, if there is one.

    An unfinished one does not take the place of a finished model, which may be in use and better: it is in the run
    directory until the training is finished.
    """
    unfinished = bool(facts.get("unfinished"))
    aside, output = workspace.job.folder / UNFINISHED, workspace.job.output
    if unfinished and _is_finished_model(output):
        output = str(aside)
    folder = workspace.run.temporary(output)
    shutil.rmtree(folder, ignore_errors=True)  # of a command that was killed
    folder.mkdir(mode=0o700)
    try:
        weights: dict[str, str] = {}
        for index, member in enumerate(trained):
            member_folder = folder / f"member-{index}"
            member_folder.mkdir()
            for source in map(Path, member["weights"]):
                shutil.copyfile(source, member_folder / source.name)
                weights[f"member-{index}/{source.name}"] = _digest(member_folder / source.name)
            for log in map(Path, member["logs"]):
                shutil.copyfile(log, member_folder / log.name)
        metrics = {f"member-{i}": _metrics(member, curves[i]) for i, member in enumerate(trained)}
        metrics = cast("dict[str, MemberMetrics]", _json_numbers(metrics))
        contents = {"metrics": metrics, "curves": _json_numbers(curves)}
        (folder / "metrics.json").write_text(json.dumps(contents, indent=1, allow_nan=False))
        # what was stopped is whole without its picture
        with contextlib.suppress(*([PsiflowError] if unfinished else [])):
            if not session.pending:
                drawn = of_training(Path(output).name, curves, metrics, stage_two)
                path = str((folder / "learning-curve.png").absolute())
                payload = {"curves": drawn, "path": path, "sheets": figures.sheets()}
                single.perform(workspace, session, figures.CURVES, payload, "the learning curve", journal=False)
        tables = {"data": _keep_data(folder, files), "weights": weights}
        (folder / "model.toml").write_text(toml.dumps({**facts, **tables}))
        bundle.load(str(folder))
        if (Path(output) / bundle.CALIBRATION).is_file():
            note(
                f"{output}: the new model is not calibrated, unlike the previous one; calibrate it with evaluate "
                "--calibrate"
            )
        workspace.run.publish(folder, output)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if not unfinished:
        shutil.rmtree(aside, ignore_errors=True)
    return output, metrics


def is_unfinished_there(workspace: Workspace) -> bool:
    """Whether a stopped training has left its model, in its place or in the run directory."""
    job = workspace.job
    return (job.folder / UNFINISHED).is_dir() or (Path(job.output).is_dir() and not _is_finished_model(job.output))


def _is_finished_model(path: str) -> bool:
    """Whether there is a model whose training came to its end."""
    try:
        return not bundle.load(path).unfinished
    except PsiflowError:
        return False


def _json_numbers(value: object) -> object:
    """The value with null in place of what is not a number, such as the loss of an epoch that diverged."""
    if isinstance(value, dict):
        return {key: _json_numbers(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_json_numbers(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _metrics(member: TrainedMember, curve: list[Epoch]) -> MemberMetrics:
    taken = {"epochs": len(curve), "last": curve[-1] if curve else {}, **member.get("metrics", {})}
    if "stage" in member:
        taken["stage"] = member["stage"]
    return cast("MemberMetrics", taken)


def _keep_data(folder: Path, files: dict[str, str]) -> dict[str, str]:
    """The training data in the bundle, with their checksums; none where they are large."""
    size = sum(Path(path).stat().st_size for path in files.values())
    if size > KEPT_BYTES:
        note(f"{size / 2**20:.0f} MB of training data are too large to store in the model: --init cannot replay them")
        return {}
    (folder / "data").mkdir()
    digests = {}
    for part, path in files.items():
        name = f"data/{part}.xyz.zst"
        with Path(path).open(encoding="utf-8") as text:
            extxyz.write(folder / name, text)
        digests[name] = _digest(folder / name)
    return digests


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
