"""Parsl's ThreadPoolExecutor: tasks in this process, for light work only."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from psiflow_cli.runtime import parsl_internals
from psiflow_cli.runtime.executors._parameters import parameters
from psiflow_cli.site.executor import ResolvedExecutor

if TYPE_CHECKING:
    from parsl.executors import ThreadPoolExecutor
    from parsl.providers.base import ExecutionProvider


_INSTEAD = {"label": "the name of the table", "max_threads": "tasks_per_node"}


def build(resolved: ResolvedExecutor, provider: ExecutionProvider, folder: Path) -> ThreadPoolExecutor:
    """As many threads as tasks fit on this machine."""
    from parsl.executors import ThreadPoolExecutor

    ours: dict[str, Any] = {
        "label": resolved.label,
        "max_threads": resolved.workers_per_node,
        "working_dir": str(folder),
    }
    return ThreadPoolExecutor(**ours, **parameters(resolved, ThreadPoolExecutor, ours, _INSTEAD))


def stop(executor: ThreadPoolExecutor) -> None:
    """Begin with no more tasks: those that run cannot be ended, and those in the queue need not be done first."""
    parsl_internals.stop_threads(executor)
