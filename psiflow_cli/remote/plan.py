"""What a command is about, told in place of running its stage: so the other machine knows what it will write."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from psiflow_cli import atomic_file

if TYPE_CHECKING:
    from psiflow_cli.messages import PlannedCommand

VARIABLE = "PSIFLOW_PLAN"
"""Environment variable: the file to write it to."""


def write_if_planning(planned: PlannedCommand) -> None:
    """Where a plan is all that is wanted, write it down and exit."""
    if path := os.environ.get(VARIABLE):
        atomic_file.write(Path(path), json.dumps(planned))
        sys.exit(0)
