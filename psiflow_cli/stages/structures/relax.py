"""Every frame relaxed to a minimum of its model, in framewise tasks."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from psiflow_cli import extxyz, voigt
from psiflow_cli.bundle import Bundle
from psiflow_cli.console import note
from psiflow_cli.errors import BadData
from psiflow_cli.extxyz.frame import Frame
from psiflow_cli.extxyz.labelling import near_names
from psiflow_cli.extxyz.velocities import UNITS
from psiflow_cli.runtime.request import fingerprint
from psiflow_cli.stages.core import failed_frames, predicted_frame
from psiflow_cli.stages.core.constraints import Constraints
from psiflow_cli.stages.core.framewise import Work, compute
from psiflow_cli.stages.core.ids import IdSet
from psiflow_cli.stages.core.model_input import check_elements, known_elements, model_weights
from psiflow_cli.stages.core.results import Results, Survey
from psiflow_cli.stages.core.workspace import Job, Workspace

if TYPE_CHECKING:
    from psiflow_cli.messages import Relaxed, RelaxSettings, Summary, Unconverged

GONE = (*UNITS, "kinetic_energy", "pressure", "volume")
"""What a frame of molecular dynamics says of itself, and a relaxed one does not."""


@dataclass(frozen=True)
class Relaxation:
    """Which model relaxes which frames, and how far."""

    job: Job
    model: Bundle
    family: str  # the family's module
    settings: RelaxSettings
    constraints: Constraints
    failed: str  # the file for frames that have no result

    @property
    def work(self) -> Work:
        return Work(
            function="psiflow_cli.worker.structures.relax:relax",
            payload={"model": model_weights(self.model, self.family), "settings": self.settings},
            fingerprint=f"{self.model.fingerprint}-{self.job.dtype}-{fingerprint(self.settings)[:12]}",
            message=self.constraints.message,
            task_seconds=10.0,
            elements=known_elements(self.model),
            inputs=self.model.frame_inputs,
            verb="relaxing",
        )


def survey(relaxation: Relaxation, workspace: Workspace) -> tuple[Survey, Results, IdSet]:
    """Check every frame, and find out what is still to be relaxed."""
    surveyed = Survey(
        workspace.frames(),
        relaxation.model.frame_inputs,
        lambda frame: _check(frame, relaxation),
        relaxation.constraints.identity,
    )
    check_elements(surveyed, relaxation.model, relaxation.job)
    results = Results(workspace, relaxation.work.fingerprint, surveyed.distinct)
    return surveyed, results, results.needed(retry_failed=False)


def _check(frame: Frame, relaxation: Relaxation) -> None:
    """Raise BadData for a frame that cannot be relaxed as it is asked for."""
    is_crystal = bool(frame.cell) and voigt.is_defined(frame.pbc)
    cell, symmetric = relaxation.settings["cell"], relaxation.settings["keep_symmetry"]
    if cell != "fixed" and not is_crystal:
        problem = f"{frame.where}: not periodic in three directions, but --cell {cell} changes the cell"
        raise BadData(problem, "give the frame a Lattice, or leave out --cell")
    if symmetric and not is_crystal:
        problem = f"{frame.where}: not periodic in three directions, but --keep-symmetry needs a crystal"
        raise BadData(problem, "leave out --keep-symmetry")
    if (cell != "fixed" or symmetric) and relaxation.constraints.message(frame).get("fixed"):
        why = f"--cell {cell} moves them with the cell" if cell != "fixed" else "--keep-symmetry may have to move them"
        raise BadData(f"{frame.where}: it has fixed atoms, but {why}", "let all atoms move, or leave out this option")


def run(relaxation: Relaxation, workspace: Workspace) -> Summary:
    """Relax every frame; returns the summary."""
    surveyed, results, needed = survey(relaxation, workspace)
    todo = len(needed)
    if todo > 1 and (why := _one_by_one(relaxation.settings)):
        note(f"{why}: ASE optimises one frame at a time; only lbfgs and fire optimise all at once")
    workspace.run.begin(len(surveyed.distinct))
    with workspace.run.guard_end():
        compute(workspace, relaxation.work, surveyed, results, needed)
        workspace.publish(_relaxed(workspace, surveyed.ids, results))
        failed = failed_frames.publish(workspace, surveyed, results, relaxation.failed, except_for="unconverged")
    summary = failed_frames.summary(surveyed, results)
    steps = [results.of(key).get("steps", 0) for key in surveyed.ids]
    return {
        **summary, "failed_output": failed, "retry": failed_frames.machine_failed(summary), "computed": todo,
        "converged": summary["total"] - summary["failed"], "steps": sum(steps),
        "most_steps": max(steps, default=0), "output": relaxation.job.output,
    }  # fmt: skip


def _one_by_one(settings: RelaxSettings) -> str:
    """What keeps frames from being moved together, or ""."""
    if settings["keep_symmetry"]:
        return "--keep-symmetry"
    return "--optimizer bfgs" if settings["optimizer"] == "bfgs" else ""


def _relaxed(workspace: Workspace, ids: array[int], results: Results) -> Iterator[str]:
    for key, frame in zip(ids, workspace.frames(), strict=True):
        result = results.of(key)
        if "positions" in result:
            yield with_minimum(frame, cast("Relaxed | Unconverged", result))


def with_minimum(frame: Frame, result: Relaxed | Unconverged) -> str:
    """The frame where its optimisation ended, with the model's predictions there; labels of elsewhere go."""
    info = {
        "relax_converged": "failure" not in result,
        "relax_steps": result["steps"],
        "max_force": result["max_force"],
        **predicted_frame.info(result),
    }
    if result["cell"] is not None and result["cell"] != frame.cell:
        info["Lattice"] = result["cell"]
    columns = {"pos": ("R", result["positions"]), **predicted_frame.columns(result)}
    drop = (*extxyz.label_names(frame), *near_names.alike(frame), *extxyz.PREDICTIONS, *extxyz.PROVENANCE, *GONE)
    return extxyz.render(frame, set_info=info, set_columns=columns, drop=drop)
