"""The names in PLUMED's input that stand for values of a window, `@NAME@`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from psiflow_cli.messages import MDJob

NAME = re.compile(r"@([A-Za-z][A-Za-z0-9_]*)@")


def filled(text: str, window: Mapping[str, float]) -> str:
    """A text with the values in place of the names that the window has."""
    return NAME.sub(lambda match: f"{window[match[1]]:.12g}" if match[1] in window else match[0], text)


def in_window(job: MDJob, window: Mapping[str, float]) -> MDJob:
    """The job of a walker in this window; the files that PLUMED's input names have names, too."""
    if not window:
        return job
    files = {name: filled(text, window) for name, text in job.get("plumed_files", {}).items()}
    own: MDJob = {**job, "plumed": filled(job["plumed"] or "", window)}
    if files:
        own["plumed_files"] = files
    return own
