"""Parsl's ThreadPoolExecutor: tasks in this process, for light work only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from psiflow_cli.site.executor import ResolvedExecutor


def build(resolved: ResolvedExecutor, provider: Any, folder: Path) -> Any:
    """As many threads as tasks fit on this machine."""
    from parsl.executors.threads import ThreadPoolExecutor

    return ThreadPoolExecutor(label=resolved.label, max_threads=resolved.workers_per_node, working_dir=str(folder))


def stop(executor: Any) -> None:
    """Begin with no more tasks: those that run cannot be ended, and those in the queue need not be done first."""
    executor.executor.shutdown(wait=False, cancel_futures=True)
