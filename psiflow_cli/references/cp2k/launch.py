"""How CP2K is started on this machine."""

from __future__ import annotations

import shutil
from typing import Any

from psiflow_cli.worker import launcher, modules
from psiflow_cli.worker.guard import Fatal

EXECUTABLE = "cp2k.psmp"


def command(context: dict[str, Any], *arguments: str) -> list[str]:
    """The argv for one run: the site's launch template, else mpirun if there is more than one rank. Raises Fatal."""
    executable = context.get("executable") or EXECUTABLE
    prefix = launcher.prefix(context)
    argv = [*prefix, executable, *arguments]
    if modules.needed(context):
        return modules.wrap(argv, context)  # what is on PATH then, only that shell knows
    path = launcher.environment(context).get("PATH")
    for program, key in ((prefix[0], "launch"),) if prefix else ((executable, "executable"),):
        if shutil.which(program, path=path) is None:
            raise missing(program, key)
    return argv


def missing(program: str, key: str, detail: str = "") -> Fatal:
    """The end of the run: this program is not there."""
    return Fatal(
        f"{key} {program!r} cannot be started where the reference runs: {detail or 'it was not found'}",
        f"set `{key}` in the site's [resources] for the reference, or the environment that has it",
    )
