"""Harmonic analysis of every frame, in framewise tasks, and what it amounts to at each temperature."""

from __future__ import annotations

import zipfile
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, cast

from psiflow_cli import extxyz
from psiflow_cli.bundle import Bundle
from psiflow_cli.console import note
from psiflow_cli.errors import BadData
from psiflow_cli.extxyz.frame import Frame
from psiflow_cli.runtime.request import fingerprint
from psiflow_cli.stages.core import failed_frames, predicted_frame
from psiflow_cli.stages.core.constraints import Constraints
from psiflow_cli.stages.core.framewise import Work, compute
from psiflow_cli.stages.core.ids import IdSet
from psiflow_cli.stages.core.model_input import check_elements, known_elements, model_weights
from psiflow_cli.stages.core.results import Results, Survey
from psiflow_cli.stages.core.workspace import Job, Workspace
from psiflow_cli.stages.evaluate.error_table import as_csv
from psiflow_cli.stages.structures import thermodynamics

if TYPE_CHECKING:
    from psiflow_cli.messages import HarmonicSettings, Modes, Summary

_HINT = "relax it first: psiflow relax FRAMES --model BUNDLE"


class _FrameRow(TypedDict):
    frame: int  # from 1
    energy: float  # eV
    modes: float  # how many the sums have
    imaginary: int


class HarmonicRow(_FrameRow):
    """A frame at a temperature; see `thermodynamics.Harmonic`."""

    temperature: float
    zero_point_energy: float
    free_energy: float
    free_energy_classical: float
    entropy: float
    entropy_classical: float
    heat_capacity: float


@dataclass(frozen=True)
class Analysis:
    """Which model, which frames, at which temperatures."""

    job: Job
    model: Bundle
    family: str  # the family's module
    settings: HarmonicSettings
    constraints: Constraints
    temperatures: tuple[float, ...]  # K
    threshold: float  # cm^-1: lower modes are not counted
    failed: str
    hessians: str | None = None  # a file for all Hessians
    table: str | None = None  # a file for the rows, as CSV

    @property
    def _fingerprint(self) -> str:
        return f"{self.model.fingerprint}-{self.job.dtype}-{fingerprint(self.settings)[:12]}"

    @property
    def folder(self) -> Path:
        """Where workers leave the Hessians of this model with these settings."""
        return self.job.folder / f"hessians-{fingerprint(self._fingerprint)[:12]}"

    @property
    def work(self) -> Work:
        return Work(
            function="psiflow_cli.worker.structures.hessian:analyse",
            payload={
                "model": model_weights(self.model, self.family),
                "settings": self.settings,
                "folder": str(self.folder.absolute()) if self.hessians else "",
            },
            fingerprint=self._fingerprint,
            message=self.constraints.message,
            task_seconds=10.0,
            elements=known_elements(self.model),
            inputs=self.model.frame_inputs,
            verb="Hessians",
        )


def survey(analysis: Analysis, workspace: Workspace) -> tuple[Survey, Results, IdSet]:
    """Check every frame, and find out which Hessians are still to be computed, or are asked for and gone."""
    surveyed = Survey(
        workspace.frames(),
        analysis.model.frame_inputs,
        lambda frame: _check(frame, analysis),
        analysis.constraints.identity,
    )
    check_elements(surveyed, analysis.model, analysis.job)
    results = Results(workspace, analysis.work.fingerprint, surveyed.distinct)
    needed = results.needed(retry_failed=False)
    if analysis.hessians:
        for key in surveyed.distinct:
            if key not in results.failures and not _hessian(analysis, key).exists():
                needed.add(key)
    return surveyed, results, needed


def _hessian(analysis: Analysis, key: int) -> Path:
    return analysis.folder / f"{key:016x}.npz"


def _check(frame: Frame, analysis: Analysis) -> None:
    """Raise BadData for a frame of which it is known that it is not relaxed, or that has no such phonons."""
    force, fmax = frame.info.get("max_force"), analysis.settings["fmax"]
    if isinstance(force, (int, float)) and force >= fmax:
        raise BadData(f"{frame.where}: not relaxed: max_force is {force:.3g} eV/Å, not below {fmax:g} eV/Å", _HINT)
    if not analysis.settings["supercell"]:
        return
    if not (frame.cell and all(frame.pbc)):
        problem = f"{frame.where}: not periodic in three directions, but --supercell needs a crystal"
        raise BadData(problem, "leave out --supercell")
    if analysis.constraints.message(frame).get("fixed"):
        problem = f"{frame.where}: it has fixed atoms, but --supercell displaces every atom"
        raise BadData(problem, "leave out --supercell, or let all atoms move")


def run(analysis: Analysis, workspace: Workspace) -> Summary:
    """Analyse every frame; returns the summary, whose `harmonic` has a row for each frame and temperature."""
    surveyed, results, needed = survey(analysis, workspace)
    todo = len(needed)
    workspace.run.begin(len(surveyed.distinct))
    with workspace.run.guard_end():
        if analysis.hessians:
            analysis.folder.mkdir(mode=0o700, exist_ok=True)
        compute(workspace, analysis.work, surveyed, results, needed)
        rows: list[HarmonicRow] = []
        workspace.publish(_analysed(analysis, workspace, surveyed.ids, results, rows))
        failed = failed_frames.publish(workspace, surveyed, results, analysis.failed)
        if analysis.hessians:
            _gather(analysis, workspace, surveyed, results)
        if analysis.table:
            workspace.run.publish_text(as_csv(rows, tuple(HarmonicRow.__annotations__)), analysis.table)
    _note_imaginary(rows)
    summary = failed_frames.summary(surveyed, results)
    return {
        **summary, "failed_output": failed, "retry": failed_frames.machine_failed(summary), "computed": todo,
        "harmonic": rows, "output": analysis.job.output, "hessian": analysis.hessians,
    }  # fmt: skip


def _analysed(
    analysis: Analysis, workspace: Workspace, ids: array[int], results: Results, rows: list[HarmonicRow]
) -> Iterator[str]:
    """Every frame with its frequencies; `rows` gets what they amount to at each temperature."""
    for number, (key, frame) in enumerate(zip(ids, workspace.frames(), strict=True), 1):
        if key in results.failures:
            continue
        result = cast("Modes", results.of(key))
        modes = (result["modes"], result["weights"], analysis.threshold)
        shared: _FrameRow = {
            "frame": number,
            "energy": result["energy"],
            "modes": thermodynamics.counted(*modes),
            "imaginary": thermodynamics.imaginary(*modes),
        }
        sums = [thermodynamics.at(temperature, *modes) for temperature in analysis.temperatures]
        rows += [cast("HarmonicRow", {**shared, **each._asdict()}) for each in sums]
        yield with_modes(frame, result, shared["imaginary"], sums[0].zero_point_energy)


def with_modes(frame: Frame, result: Modes, imaginary: int, zero_point_energy: float) -> str:
    """The frame's text with its frequencies (cm^-1) and the model's predictions, beside whatever labels it has."""
    info = {
        **({"frequencies": result["frequencies"]} if result["frequencies"] else {}),
        "imaginary_modes": imaginary,
        "zero_point_energy": zero_point_energy,
        "max_force": result["max_force"],
        **predicted_frame.info(result),
    }
    drop = (*extxyz.PREDICTIONS, *extxyz.FAILURE, "frequencies")
    return extxyz.render(frame, set_info=info, set_columns=predicted_frame.columns(result), drop=drop)


def _note_imaginary(rows: list[HarmonicRow]) -> None:
    frames = sorted({row["frame"] for row in rows if row["imaginary"]})
    if frames:
        named = ", ".join(map(str, frames[:5])) + (", …" if len(frames) > 5 else "")
        which = f"frame{'s' * (len(frames) > 1)} {named}: imaginary modes, which are left out of the sums"
        note(f"warning: {which}; this is a saddle point, or not relaxed well enough")


def _gather(analysis: Analysis, workspace: Workspace, surveyed: Survey, results: Results) -> None:
    """Join the workers' files to one that numpy.load opens: `hessian_0`, `positions_0`, … of the first frame."""
    assert analysis.hessians is not None
    temporary = workspace.run.temporary(analysis.hessians)
    with zipfile.ZipFile(temporary, "w") as whole:
        for number, key in enumerate(surveyed.ids):
            if key in results.failures:
                continue
            with zipfile.ZipFile(_hessian(analysis, key)) as part:
                for name in part.namelist():
                    member = zipfile.ZipInfo(f"{Path(name).stem}_{number}.npy")  # of no date: equal runs, equal bytes
                    whole.writestr(member, part.read(name))
    workspace.run.publish(temporary, analysis.hessians)


def as_text(rows: list[HarmonicRow], most: int = 20) -> str:
    """The first rows as a table, energies in eV, entropy and heat capacity in eV/K."""
    head = ("frame", "T (K)", "modes", "imag.", "ZPE (eV)", "F (eV)", "F class. (eV)", "S (eV/K)", "C (eV/K)")
    lines = ["{:>5} {:>7} {:>6} {:>5} {:>9} {:>10} {:>13} {:>10} {:>10}".format(*head)]
    for row in rows[:most]:
        energies = (row["zero_point_energy"], row["free_energy"], row["free_energy_classical"])
        start = f"{row['frame']:5d} {row['temperature']:7g} {row['modes']:6g} {row['imaginary']:5d}"
        numbers = " {:9.5f} {:10.5f} {:13.5f} {:10.3e} {:10.3e}".format(*energies, row["entropy"], row["heat_capacity"])
        lines.append(start + numbers)
    if len(rows) > most:
        lines.append(f"… {len(rows) - most} more rows: see --table or --json")
    return "\n".join(lines)
