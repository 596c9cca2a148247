"""Parsl's HighThroughputExecutor: encrypted, by absolute paths, supervised, and quick to start."""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psiflow_cli import duration
from psiflow_cli.runtime import container, lock, parsl_internals
from psiflow_cli.runtime.executors import _addresses, _interchange, _messages_to_interchange
from psiflow_cli.runtime.executors._parameters import parameters
from psiflow_cli.site import schema
from psiflow_cli.site.executor import ResolvedExecutor
from psiflow_cli.worker.pool import gpu_slots, light_parsl, openmp, process_table, supervisor

if TYPE_CHECKING:
    from parsl.executors import HighThroughputExecutor
    from parsl.providers.base import ExecutionProvider

_INSTEAD = {
    "label": "the name of the table", "provider": "provider", "address": "address",
    "launch_cmd": "environment, or worker_init of the provider", "max_workers_per_node": "tasks_per_node",
    "cores_per_worker": "[resources] cores, or tasks_per_node", "mem_per_worker": "[resources] memory",
    "cpu_affinity": "{cpus} in launch: tasks have their own CPUs", "working_dir": "",
    "available_accelerators": "[resources] gpus and gpus_per_node of the provider, or tasks_per_gpu",
    "worker_port_range": "ports", "heartbeat_threshold": "stall_patience", "address_probe_timeout": "stall_patience",
    "block_error_handler": "[run] max_block_failures", "drain_period": "[resources] min_runtime, or walltime",
}  # fmt: skip
"""What a site sets in place of Parsl's parameters."""
HEARTBEAT_S = 3  # also how soon a pool notices that a worker has died
SUSPENDED_S = 7 * 24 * 3600
"""How long a pool on this host waits for its interchange: its supervisor sees the command's end, and laptops sleep."""
POLL_MS = 250  # how often the thread for results wakes up without one; by default, a hundred times a second
DRAIN_MARGIN_S = 5  # what a task may take besides its walltime: to reach its worker, and to be ended


def build(resolved: ResolvedExecutor, provider: ExecutionProvider, folder: Path) -> HighThroughputExecutor:
    """An executor whose processes end with this one; `folder` has a name that needs no quoting in a shell."""
    from parsl.executors import HighThroughputExecutor

    facts_file = write_supervisor_facts(resolved, folder)
    start = shlex.join([*supervised_by(resolved, facts_file), *_pool(resolved, folder)])
    supervised = (sys.executable, supervisor.__file__, str(facts_file))
    addresses = _addresses.of_this_host(resolved)
    patience = int(duration.parse(resolved.table.stall_patience))
    launch = parsl_internals.pool_launch_command(start, SUSPENDED_S if _addresses.is_here(resolved) else patience)
    ours: dict[str, Any] = {
        "label": resolved.label, "provider": provider,
        "address": _addresses.LOOPBACK, "loopback_address": _addresses.LOOPBACK,
        "interchange_launch_cmd": [*supervised, sys.executable, light_parsl.__file__, _interchange.__file__],
        "launch_cmd": launch, "worker_logdir_root": str(folder),
        "max_workers_per_node": resolved.workers_per_node,
        "cores_per_worker": 1e-6,  # the number of workers is ours; Parsl only caps it by cores
        "cpu_affinity": "block" if binds_tasks(resolved) else "none",
        "block_error_handler": False,  # runtime/blocks.py watches
        "heartbeat_period": HEARTBEAT_S, "heartbeat_threshold": patience,
        "prefetch_capacity": 0, "encrypted": True,
        "worker_port_range": _port_range(resolved), "address_probe_timeout": patience,
    }  # fmt: skip
    executor = HighThroughputExecutor(**ours, **parameters(resolved, HighThroughputExecutor, ours, _INSTEAD))
    parsl_internals.set_addresses(executor, addresses, _addresses.listen_on(addresses))
    parsl_internals.set_drain_period(executor, _drain_period(resolved))
    return executor


def started(executor: HighThroughputExecutor) -> None:
    """Call it once Parsl has started the executor."""
    _messages_to_interchange.bound(executor)
    executor.poll_period = POLL_MS  # not before: it is also the interchange's


def binds_tasks(resolved: ResolvedExecutor) -> bool:
    """Whether each worker is bound to its own CPUs.

    Workers of every command take the first CPUs first. On a host that several commands use, a few tasks of each would
    compete for these while others are idle; tasks of one process are not bound there. MPI keeps its ranks together, and
    a launch template may name the CPUs.
    """
    context = resolved.context
    is_one_process = context["ranks"] == 1 and not context["launch"]
    return hasattr(os, "sched_setaffinity") and not (is_one_process and _addresses.is_here(resolved))


def supervised_by(resolved: ResolvedExecutor, facts_file: Path) -> list[str]:
    """The words that start the supervisor of a worker, less the worker's own."""
    return [*resolved.isolation, host_python(resolved), supervisor.__file__, str(facts_file)]


def host_python(resolved: ResolvedExecutor) -> str:
    """The Python of the supervisor: outside a container, where the processes are."""
    return sys.executable if resolved.environment.container else resolved.python


def _pool(resolved: ResolvedExecutor, folder: Path) -> list[str]:
    """How the worker pool is started, without its arguments."""
    if resolved.environment.container:
        # the folder's own name may be a link to one with a name that a shell would read
        inside = container.words(resolved, folder, folder.resolve())
        return [*inside, resolved.python, "-m", parsl_internals.POOL_MODULE]
    script = Path(resolved.python).with_name(parsl_internals.POOL_SCRIPT)
    return [resolved.python, light_parsl.__file__, str(script)]


def write_supervisor_facts(resolved: ResolvedExecutor, folder: Path) -> Path:
    """The file that tells supervisors where their command runs its programs, and whose end is theirs."""
    env = openmp.variables(resolved.context["threads"])
    env.update(PYTHONUNBUFFERED="1", **resolved.context["env"])
    pid = os.getpid()
    facts: supervisor.Supervision = {
        "host": process_table.host(), "pid": pid, "started": lock.started(pid), "cwd": str(folder), "env": env,
        "gpus": _gpus(resolved), "logs": str(folder.resolve().parent / "logs"),
        "scratch": resolved.context["scratch"],
    }  # fmt: skip
    path = folder / f"{resolved.label}.supervisor.json"
    path.write_text(json.dumps(facts))
    return path


def _gpus(resolved: ResolvedExecutor) -> gpu_slots.Plan | None:
    """What a node's tasks are to have of its GPUs, of which each node knows its own."""
    if not resolved.gpus:
        return None
    return {
        "ids": list(resolved.gpus), "each": resolved.context["gpus"], "tasks": resolved.table.tasks_per_gpu,
        "most": resolved.workers_per_node,
    }  # fmt: skip


def _port_range(resolved: ResolvedExecutor) -> tuple[int, int]:
    """Where the interchange looks for a free port, without the second number; by default as Parsl does."""
    if not _addresses.free_port(resolved):  # an interchange that finds none would be waited for
        return 54000, 55000
    first, last = schema.port_range(resolved.table.ports)
    return first, last + 1


def _drain_period(resolved: ResolvedExecutor) -> str | None:
    """How old (s) a worker pool may be when a task starts in it, so that the task ends before the block does.

    It is shell arithmetic: `SECONDS` is the age of the block's script, whose `worker_init` may have taken its time.
    """
    block, task = resolved.provider.block_walltime, resolved.min_runtime
    if not block or not task:
        return None
    age = max(1, int(block - task - DRAIN_MARGIN_S))
    return f"$(({age} > SECONDS ? {age} - SECONDS : -1))"  # 0 would be no limit
