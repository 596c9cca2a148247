"""A model compiled for a device and a program, kept in the bundle beside the weights it was made of."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from psiflow_cli.bundle import Bundle
from psiflow_cli.errors import CannotCreate
from psiflow_cli.stages.core import single
from psiflow_cli.stages.core.workspace import Job, Workspace
from psiflow_cli.worker.models.kernels import compiled_cache

if TYPE_CHECKING:
    from psiflow_cli.messages import CompiledModel, CompiledRecord, Summary


@dataclass(frozen=True)
class Compilation:
    """Which model, for what."""

    model: Bundle
    family: str  # the family's module
    target: str
    ending: str  # of the compiled files
    device: str

    @property
    def places(self) -> list[Path]:
        """Where the compiled model of each member is kept."""
        return [compiled_cache.place(member, self.device, self.target, self.ending) for member in self.model.members]

    def missing(self) -> list[int]:
        """The members without a compiled model of their weights."""
        digests = list(self.model.weights.values())
        return [i for i, path in enumerate(self.places) if not compiled_cache.valid(path, self.ending, digests[i])]


def placed(job: Job, compilation: Compilation) -> Job:
    """The job with its outputs, which psiflow alone writes: whatever is there is replaced."""
    paths = [str(path) for path in compilation.places]
    return replace(job, output=paths[0], other_outputs=tuple(paths[1:]), overwrite=True)


def make_folders(compilation: Compilation) -> None:
    """The folders of the outputs. Raises CannotCreate in a bundle that may not be written."""
    for path in compilation.places:
        try:
            path.parent.mkdir(exist_ok=True)
        except OSError as error:
            raise CannotCreate(
                f"{path.parent}: {error.strerror}", "copy the bundle to a folder that you can write to"
            ) from None


def run(compilation: Compilation, workspace: Workspace, members: list[int]) -> Summary:
    """Compile these members, one after another, and put the results into the bundle; returns the summary."""
    workspace.run.begin(len(members))
    with workspace.run.guard_end(), workspace.session() as session:
        for index in members:
            folder = workspace.job.folder / "made"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(mode=0o700)
            member = compilation.model.members[index]
            payload = {
                "family": compilation.family, "member": member, "weights": compilation.model.weights,
                "target": compilation.target, "folder": str(folder.absolute()),
                "context": {**workspace.context(), "device": compilation.device},
            }  # fmt: skip
            compiled = single.perform(
                workspace, session, "psiflow_cli.worker.models.export:compiled", payload, f"compile-member-{index}"
            )
            _store(compilation, workspace, index, compiled)
            shutil.rmtree(folder)
    return {
        "total": len(members), "failed": 0, "output": str(compilation.model.path), "target": compilation.target,
        "device": compilation.device, "files": [str(path) for path in compilation.places],
    }  # fmt: skip


def _store(compilation: Compilation, workspace: Workspace, index: int, compiled: CompiledModel) -> None:
    """Put a compiled model into its place, then the record without which it is not used."""
    path = compilation.places[index]
    temporary = workspace.run.temporary(str(path))
    shutil.copyfile(compiled["path"], temporary)
    digest = list(compilation.model.weights.values())[index]
    facts: CompiledRecord = {
        "sha256": compiled_cache.sha256(temporary), "weights": digest, "dtype": compiled["dtype"],
        "elements": compiled["elements"], "machine": compiled["machine"],
    }  # fmt: skip
    workspace.run.publish(temporary, str(path))
    note = compiled_cache.record(path, compilation.ending)
    workspace.run.publish_text(json.dumps(facts, indent=1) + "\n", str(note))
