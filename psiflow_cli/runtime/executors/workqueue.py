"""Parsl's WorkQueueExecutor: tasks of different sizes share a node, and workers may come and go.

Each task is a Python process of its own, so it starts slower than under HTEX. The manager and its workers share a
password made for this run.
"""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psiflow_cli import duration
from psiflow_cli.errors import BadConfig
from psiflow_cli.runtime import container
from psiflow_cli.runtime.executors import _addresses, _work_queue, htex
from psiflow_cli.runtime.executors._parameters import parameters
from psiflow_cli.site.executor import ResolvedExecutor
from psiflow_cli.worker.pool import task_slot

if TYPE_CHECKING:
    from parsl.executors import WorkQueueExecutor
    from parsl.providers.base import ExecutionProvider

_INSTEAD = {
    "label": "the name of the table", "provider": "provider", "address": "address",
    "env": "[resources] env", "init_command": "worker_init of the provider", "working_dir": "", "function_dir": "",
    "coprocess": "", "scaling_cores_per_worker": "tasks_per_node", "max_retries": "retries", "pack": "environment",
    "extra_pkgs": "environment", "project_name": "address: workers need no catalog",
}  # fmt: skip
"""What a site sets in place of Parsl's parameters."""


def build(resolved: ResolvedExecutor, provider: ExecutionProvider, folder: Path) -> WorkQueueExecutor:
    """An executor whose workers end with this process; `folder` has a name that needs no quoting in a shell."""
    if reason := _work_queue.why_no_work_queue():
        raise BadConfig(
            f"[executors.{resolved.label}] type: {reason}",
            "conda install ndcctools, or on Debian apt-get install coop-computing-tools python3-workqueue",
        )
    facts_file = htex.write_supervisor_facts(resolved, folder)
    password = folder / f"{resolved.label}.password"
    with open(os.open(password, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as stream:
        stream.write(secrets.token_hex(32))
    kind = _work_queue.work_queue_class()
    worker = [*htex.supervised_by(resolved, facts_file), _worker(resolved)]
    addresses = _addresses.of_this_host(resolved)
    ours: dict[str, Any] = {
        "label": resolved.label, "provider": provider,
        "address": addresses[0], "port": _addresses.free_port(resolved),
        "project_password_file": str(password), "shared_fs": True, "autocategory": False,
        "worker_executable": shlex.join(worker),
        "scaling_cores_per_worker": resolved.workers_per_node * resolved.cores,
    }  # fmt: skip
    given = {"full_debug": False, **parameters(resolved, kind, ours, _INSTEAD)}
    given["worker_options"] = f"{shlex.join(_options(resolved))} {given.get('worker_options', '')}".rstrip()
    executor = kind(**ours, **given)
    _work_queue.leave_blocks_alone(executor)
    _work_queue.try_all_addresses(executor, addresses)
    inside = container.words(resolved, folder, folder.resolve())
    cores = resolved.cores if htex.binds_tasks(resolved) else 0
    task = [htex.host_python(resolved), task_slot.__file__, str(cores), *inside, resolved.python]
    _work_queue.set_task_start(executor, shlex.join(task))
    return executor


def resources(resolved: ResolvedExecutor) -> dict[str, int]:
    """What Parsl asks Work Queue for with each task; memory and disk in MB, time in s."""
    wanted: dict[str, int] = {"cores": resolved.cores, "memory": resolved.context["memory"] or 1, "disk": 1}
    if resolved.min_runtime and resolved.provider.block_walltime:
        wanted["running_time_min"] = int(resolved.min_runtime)
    return wanted


def lost(error: BaseException) -> tuple[str, bool] | None:
    """What became of a task without a result, and whether it is alone to blame; None for another kind of error."""
    reason = _work_queue.work_queue_reason(error)
    if reason is None:
        return None
    if "number of retries" in reason or "not a task error" in reason:
        return "its Work Queue worker was lost", False
    trace = reason.partition("Trace:")[2].strip().splitlines()
    return f"its process died{f': {trace[-1][:300]}' if trace else ''}", True


def tidy(folder: Path) -> None:
    """Remove what was sent and what came back; the journal has it."""
    for files in _work_queue.task_files(folder):
        shutil.rmtree(files, ignore_errors=True)


def _worker(resolved: ResolvedExecutor) -> str:
    """The worker's program, by absolute path where it is known: beside the environment's Python, or on PATH."""
    beside = Path(resolved.python).with_name("work_queue_worker")
    program = str(beside) if beside.is_file() else shutil.which("work_queue_worker")
    return program or shutil.which("work_queue_worker", path=os.defpath) or "work_queue_worker"


def _options(resolved: ResolvedExecutor) -> list[str]:
    """One worker has a whole node, and is gone as soon as its manager is."""
    memory = resolved.context["memory"] or 1
    patience = int(duration.parse(resolved.table.stall_patience))  # its manager's host may hang when the block starts
    options = [
        "--single-shot", f"--connect-timeout={patience}",
        f"--idle-timeout={24 * 3600}",  # Parsl decides when a block is idle
        f"--cores={resolved.workers_per_node * resolved.cores}",
        f"--memory={resolved.workers_per_node * memory}",
    ]  # fmt: skip
    if resolved.provider.block_walltime:
        options.append(f"--wall-time={int(resolved.provider.block_walltime)}")
    return options
