"""Every frame relaxed to a minimum of its model, in framewise tasks."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from psiflow_cli import extxyz, voigt
from psiflow_cli.bundle import Bundle
from psiflow_cli.errors import BadData
from psiflow_cli.extxyz.frame import Frame
from psiflow_cli.messages import Wire
from psiflow_cli.runtime.request import fingerprint
from psiflow_cli.stages.core.constraints import Held
from psiflow_cli.stages.core.framewise import Work, compute
from psiflow_cli.stages.core.ids import IdSet
from psiflow_cli.stages.core.results import Results, Survey
from psiflow_cli.stages.core.workspace import Job, Workspace
from psiflow_cli.worker.failures import MACHINE_FAILURES

GONE = ("momenta", "velocities", "kinetic_energy", "pressure", "volume")
"""What a frame of molecular dynamics says of itself, and a relaxed one does not."""


@dataclass(frozen=True)
class Relaxation:
    """Which model relaxes which frames, and how far."""

    job: Job
    model: Bundle
    family: str
    """The family's module."""
    settings: Wire
    """See `worker.structures.relax.relax`."""
    held: Held
    failed: str

    @property
    def work(self) -> Work:
        return Work(
            function="psiflow_cli.worker.structures.relax:relax",
            payload={"model": wire_of(self.model, self.family), "settings": self.settings},
            fingerprint=f"{self.model.fingerprint}-{self.job.dtype}-{fingerprint(self.settings)[:12]}",
            message=self.held.message,
            task_seconds=10.0,
            verb="relaxing",
        )


def wire_of(model: Bundle, family: str) -> Wire:
    """A model as `worker.models.calculators` loads it."""
    return {"family": family, "members": model.members, "weights": model.weights}


def known_elements(model: Bundle) -> list[str] | None:
    """The elements that a model knows, None where nobody says."""
    return None if model.is_foreign else list(model.elements)


def survey(relaxation: Relaxation, workspace: Workspace) -> tuple[Survey, Results, IdSet]:
    """Check every frame, and find out what is still to be relaxed."""
    seen = Survey(workspace.frames(), (), lambda frame: _check(frame, relaxation), relaxation.held.identity)
    check_elements(seen, relaxation.model, relaxation.job)
    results = Results(workspace, relaxation.work.fingerprint, seen.distinct)
    return seen, results, results.needed(retry_failed=False)


def check_elements(seen: Survey, model: Bundle, job: Job) -> None:
    """Raise BadData where the model knows none of the elements: then it is the wrong one."""
    if not model.is_foreign and seen.elements and seen.elements.isdisjoint(model.elements):
        raise BadData(
            f"{job.frames[0]}: the model knows none of these elements: {', '.join(sorted(seen.elements))}",
            f"{model.path} was trained on {', '.join(model.elements)}",
        )


def _check(frame: Frame, relaxation: Relaxation) -> None:
    """Raise BadData for a frame that cannot be relaxed as it is asked for."""
    is_crystal = bool(frame.cell) and all(frame.pbc)
    cell, symmetric = relaxation.settings["cell"], relaxation.settings["keep_symmetry"]
    if cell != "fixed" and not is_crystal:
        said = f"{frame.where}: not periodic in three directions, and --cell {cell} moves the cell"
        raise BadData(said, "give the frame a Lattice, or leave --cell out")
    if symmetric and not is_crystal:
        said = f"{frame.where}: not periodic in three directions, and --keep-symmetry is for crystals"
        raise BadData(said, "leave --keep-symmetry out")
    if (cell != "fixed" or symmetric) and relaxation.held.message(frame).get("fixed"):
        why = f"--cell {cell} moves them with the cell" if cell != "fixed" else "--keep-symmetry may have to move them"
        raise BadData(f"{frame.where}: atoms that do not move, and {why}", "let all atoms move, or leave that out")


def run(relaxation: Relaxation, workspace: Workspace) -> dict[str, Any]:
    """Relax every frame; returns the summary."""
    seen, results, needed = survey(relaxation, workspace)
    todo = len(needed)
    workspace.run.begin(len(seen.distinct))
    with workspace.run.guard_end():
        compute(workspace, relaxation.work, seen, results, needed)
        workspace.publish(_relaxed(workspace, seen.ids, results))
        publish_failed(workspace, seen, results, relaxation.failed, kept="unconverged")
    summary = counted(seen, results, relaxation.failed, kept="unconverged")
    steps = [results.of(key).get("steps", 0) for key in seen.ids]
    return {
        **summary,
        "computed": todo,
        "converged": summary["total"] - summary["failed"],
        "steps": sum(steps),
        "most_steps": max(steps, default=0),
        "output": relaxation.job.output,
    }


def counted(seen: Survey, results: Results, failed: str, kept: str = "") -> dict[str, Any]:
    """The part of a summary that says what failed, and where those frames are; those that `kept` are in the output."""
    failures = Counter(results.failures[k] for k in seen.ids if k in results.failures)
    reasons = sorted({results.of(k)["message"] for k in results.failures})
    return {
        "total": len(seen),
        "failed": sum(failures.values()),
        "failures": dict(failures),
        "failed_hint": "; ".join(reasons[:3]),
        "failed_output": failed if set(failures) - {kept} else None,
        "retry": any(kind in MACHINE_FAILURES for kind in failures),
    }


def publish_failed(workspace: Workspace, seen: Survey, results: Results, failed: str, kept: str = "") -> None:
    """Failed frames as they came, each with the reason, to a file that goes when none are left."""
    if all(kind == kept for kind in results.failures.values()):
        workspace.run.remove_own(failed)
        return
    workspace.publish(_failed(workspace, seen.ids, results, kept), failed)


def _failed(workspace: Workspace, ids: array[int], results: Results, kept: str) -> Iterator[str]:
    for key, frame in zip(ids, workspace.frames(), strict=True):
        if key in results.failures and results.failures[key] != kept:
            result = results.of(key)
            info = {"failure": result["failure"], "failure_message": result["message"]}
            yield extxyz.render(frame, set_info=info, drop=extxyz.PREDICTIONS)


def _relaxed(workspace: Workspace, ids: array[int], results: Results) -> Iterator[str]:
    for key, frame in zip(ids, workspace.frames(), strict=True):
        result = results.of(key)
        if "positions" in result:
            yield with_minimum(frame, result)


def with_minimum(frame: Frame, result: Wire) -> str:
    """The frame where its optimisation ended, with the model's predictions there; labels of elsewhere go."""
    info = {
        "relax_converged": "failure" not in result,
        "relax_steps": result["steps"],
        "max_force": result["max_force"],
        "model_energy": result["energy"],
    }
    columns = {"pos": ("R", result["positions"]), "model_forces": ("R", result["forces"])}
    if result["cell"] is not None and result["cell"] != frame.cell:
        info["Lattice"] = result["cell"]
    if result["stress"] is not None:
        info["model_stress"] = voigt.to_matrix(result["stress"])
    if "energy_std" in result:
        info["model_energy_std"] = result["energy_std"]
        columns["model_forces_std"] = ("R", [[s] for s in result["forces_std"]])
    drop = (*extxyz.label_names(frame), *extxyz.PREDICTIONS, *extxyz.PROVENANCE, *GONE)
    return extxyz.render(frame, set_info=info, set_columns=columns, drop=drop)
