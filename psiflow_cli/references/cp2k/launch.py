"""How CP2K is started on this machine."""

from __future__ import annotations

from typing import Any

from psiflow_cli.worker.process import launcher
from psiflow_cli.worker.process.launcher import missing

EXECUTABLE = "cp2k.psmp"


def command(context: dict[str, Any], *arguments: str) -> list[str]:
    """The argv for one run: the site's launch template, else mpirun if there is more than one rank. Raises Fatal."""
    return launcher.command(context, EXECUTABLE, *arguments)


__all__ = ["EXECUTABLE", "command", "missing"]
