"""A packaged NequIP or Allegro model: where it lies, and what it says of itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from psiflow_cli.errors import NO_INPUT
from psiflow_cli.models.nequip import nequip_internals
from psiflow_cli.worker.failures import Fatal

if TYPE_CHECKING:
    from psiflow_cli.messages import ModelFacts

PACKAGE = ".nequip.zip"


def weights_file(member: str) -> Path:
    """The one packaged model in a member's folder, or the file that was named in place of one."""
    if Path(member).is_file():
        return Path(member)
    files = sorted(Path(member).glob(f"*{PACKAGE}"))
    if len(files) != 1:
        problem = f"{member}: {len(files)} files named *{PACKAGE} in it, not one"
        raise Fatal(problem, "is this a model bundle of NequIP or Allegro?", NO_INPUT)
    return files[0]


def describe(path: str | Path) -> ModelFacts:
    """*worker*: what a model file says of itself."""
    return nequip_internals.description(nequip_internals.load(path))
