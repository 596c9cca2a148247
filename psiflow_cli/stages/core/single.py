"""A stage that is one task on a worker, or a few that are done one after another."""

from __future__ import annotations

import time
from typing import Any

from psiflow_cli.errors import PsiflowError
from psiflow_cli.runtime.session import Session, Task
from psiflow_cli.stages.core.workspace import Workspace


def perform(workspace: Workspace, session: Session, function: str, payload: dict[str, Any], name: str) -> Any:
    """The value of one call on a worker, which is journalled as the unit `name`.

    A call that is lost with its worker is made again as often as the site says. Raises PsiflowError.
    """
    tries = 1
    while True:
        session.submit(Task(function, payload, tries=tries))
        _, outcome = session.next()
        if not outcome.lost:
            break
        workspace.run.note_lost([name], outcome.lost)
        if tries > session.executor.retries("worker-lost"):
            raise PsiflowError(f"{name}: {outcome.lost}", f"logs: {workspace.job.folder / 'parsl'}", 69)
        tries += 1
    unit = {"kind": "unit", "id": name, "of": workspace.run.request.fingerprint, "ok": not outcome.error}
    unit.update(t=round(time.time(), 3), s=round(outcome.seconds, 3), cores=session.executor.cores)
    workspace.run.journal.append(unit)
    if outcome.error:
        raise PsiflowError(f"{name}: {outcome.error}", f"logs: {workspace.job.folder / 'logs'}")
    return outcome.value
