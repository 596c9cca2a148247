"""A model in the form that another program reads, made on a worker from checked weights."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from psiflow_cli import formats
from psiflow_cli.bundle import Bundle
from psiflow_cli.errors import UsageError, nearest
from psiflow_cli.stages.core import single
from psiflow_cli.stages.core.workspace import Job, Workspace

if TYPE_CHECKING:
    from psiflow_cli.messages import Summary

Forms = dict[str, dict[str, str]]
"""For each target, how its files end in each of its forms, the usual one first; see `protocols.Model.EXPORTS`."""

_EXPORT = "psiflow_cli.worker.models.export:export"


def suffix(family: str, forms: Forms, target: str, form: str | None) -> tuple[str, str]:
    """The form, and how its files end. Raises UsageError for what the family does not have."""
    if target not in forms:
        if not forms:
            problem = f"--to {target}: models of {family} cannot be exported"
            raise UsageError(problem, "other programs can read the model file itself")
        raise UsageError(f"--to {target}: {family} exports to {', '.join(sorted(forms))}")
    if form is None:
        form = next(iter(forms[target]))
    form = next((known for known in forms[target] if known.lower() == form.lower()), form)
    if form not in forms[target]:
        raise UsageError(f"--format {form}: {target} has no such format", nearest(form, list(forms[target])))
    return form, forms[target][form]


def check_output(output: str, ending: str) -> None:
    """Raise UsageError for a name by which the other program would not know the file."""
    if not ending and (complaint := formats.EXPORTED_FOLDER.complaint(output)):
        raise UsageError(f"--output {complaint}", formats.EXPORTED_FOLDER.hint)
    kind = ending[ending.find(".") :] if ending else ""
    if not output.endswith(kind):
        raise UsageError(f"--output {output}: the name must end in {kind}")


def members(model: Bundle, target: str, chosen: int | None, takes_all: bool) -> list[str]:
    """The members to export. Raises UsageError for one that is not there, or more than fit into one file."""
    if chosen is not None:
        if chosen >= len(model.members):
            raise UsageError(f"--member {chosen}: {model.path} has members 0 to {len(model.members) - 1}")
        return [model.members[chosen]]
    if len(model.members) > 1 and not takes_all:
        problem = f"{model.path} has {len(model.members)} members, but {target} takes one"
        raise UsageError(problem, "export the first with --member 0")
    return model.members


@dataclass(frozen=True)
class Export:
    """Which members of which model, for what."""

    job: Job
    model: Bundle
    family: str  # the family's module
    members: list[str]
    target: str
    form: str


def run(export: Export, workspace: Workspace) -> Summary:
    """Make the file or folder and put it into its place; returns the summary."""
    workspace.run.begin(1)
    with workspace.run.guard_end():
        folder = workspace.job.folder / "made"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        payload = {
            "family": export.family, "members": export.members, "weights": export.model.weights,
            "target": export.target, "form": export.form, "folder": str(folder.absolute()),
            "context": workspace.context(),
        }  # fmt: skip
        with workspace.session() as session:
            path = Path(single.perform(workspace, session, _EXPORT, payload, f"to-{export.target}"))
        temporary = workspace.run.temporary(export.job.output)
        if path.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
            shutil.copytree(path, temporary)
        else:
            shutil.copyfile(path, temporary)
        workspace.run.publish(temporary, export.job.output)
        shutil.rmtree(folder)
    return {
        "total": 1, "failed": 0, "output": export.job.output, "target": export.target, "format": export.form,
        "members": len(export.members),
    }  # fmt: skip
