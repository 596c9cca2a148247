"""A folder of a task's own in the scratch space of its node."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from psiflow_cli.messages import Context


@contextlib.contextmanager
def folder(context: Context, prefix: str) -> Iterator[Path]:
    """A new, empty folder; it is removed at the end unless the site keeps scratch."""
    base = Path(context["scratch"])
    base.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f"{prefix}-", dir=base))
    try:
        yield made
    finally:
        if not context.get("keep_scratch"):
            shutil.rmtree(made, ignore_errors=True)
