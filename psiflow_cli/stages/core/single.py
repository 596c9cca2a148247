"""A stage that is one task on a worker, or a few that are done one after another."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from psiflow_cli.errors import NO_RESOURCES, PsiflowError
from psiflow_cli.runtime import journal as journal_file
from psiflow_cli.runtime.session import Session
from psiflow_cli.runtime.task import Task
from psiflow_cli.stages.core import resubmission
from psiflow_cli.stages.core.workspace import Workspace


def perform(
    workspace: Workspace,
    session: Session,
    function: str,
    payload: Mapping[str, object],
    name: str,
    journal: bool = True,
) -> Any:
    """The value of one call on a worker, which is journalled as the unit `name`, unless it is none.

    A call that is lost with its worker is made again as often as the site says. Raises PsiflowError.
    """
    run, logs = workspace.run, workspace.job.folder
    note_lost = partial(run.note_lost, [name]) if journal else None
    outcome = resubmission.final_outcome(Task(function, payload), session, note_lost)
    if outcome.lost:
        raise PsiflowError(f"{name}: {outcome.lost}", f"logs: {logs / 'parsl'}", NO_RESOURCES)
    if journal:
        seconds, cores = round(outcome.seconds, 3), session.executor.cores
        run.journal.append(journal_file.unit(name, run.request.fingerprint, not outcome.error, seconds, cores))
    if outcome.error:
        raise PsiflowError(f"{name}: {outcome.error}", f"log: {outcome.log or logs / 'logs'}")
    return outcome.value


def make(
    workspace: Workspace, session: Session | None, function: str, payload: Mapping[str, object], output: str
) -> None:
    """Have a call on a worker make a file, which it gets as `path`, and put it in its place.

    Without a session, one is begun. Raises PsiflowError.
    """
    if session is None:
        with workspace.session() as own:
            make(workspace, own, function, payload, output)
        return
    unpublished = (workspace.job.folder / f"made{Path(output).suffix.lower()}").absolute()
    perform(workspace, session, function, {**payload, "path": str(unpublished)}, output, journal=False)
    publish_copy(workspace, unpublished, output)
    unpublished.unlink()


def publish_copy(workspace: Workspace, unpublished: Path, output: str) -> None:
    """Put a copy of a file in the place of an output."""
    temporary = workspace.run.temporary(output)
    try:
        shutil.copyfile(unpublished, temporary)
        workspace.run.publish(temporary, output)
    finally:
        temporary.unlink(missing_ok=True)
