"""Atoms that overlap; the distances are computed on workers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from psiflow_cli.stages.check.findings import ERROR, WARNING, Findings, Places
from psiflow_cli.stages.core.framewise import Work
from psiflow_cli.stages.core.results import Results, is_failure

if TYPE_CHECKING:
    from psiflow_cli.messages import Contact, Failure

CLOSE, OVERLAP = 0.6, 0.3
"""Of the sum of two covalent radii: nearer than the first is unusual, nearer than the second no structure."""

WORK = Work(
    function="psiflow_cli.worker.structures.contacts:nearest", payload={}, fingerprint="contacts-1",
    task_seconds=2.0, verb="distances",
)  # fmt: skip


def report(results: Results[Contact | Failure], findings: Findings, ids: Sequence[int], places: Places) -> None:
    """Say which frames have atoms too near to each other; `ids` are those of the structures, in order."""
    for index, key in enumerate(ids):
        contact = results.of(key)
        if is_failure(contact):
            what = f"distances could not be computed: {contact['message']}"
            findings.add(WARNING, "overlap", what, key="failed").see(places[index])
        elif contact["ratio"] < CLOSE:
            severity = ERROR if contact["ratio"] < OVERLAP else WARNING
            what = f"{contact['atoms']} are {contact['distance']:.3f} Å apart{contact['across']}"
            findings.add(severity, "overlap", what, "is the structure or the cell wrong?").see(places[index])
