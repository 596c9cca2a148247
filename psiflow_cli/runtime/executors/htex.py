"""Parsl's HighThroughputExecutor: encrypted, by absolute paths, on a leash, and quick to start."""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any

from psiflow_cli.runtime import container, lock
from psiflow_cli.site.executor import ResolvedExecutor
from psiflow_cli.worker.process import light_parsl, supervisor

# One missed heartbeat period of a dead interchange must not outlive a killed command by more than 10 s.
HEARTBEAT_S = 3
DEAD_AFTER_S = 9
ANSWER_POLL_MS = 200
DRAIN_MARGIN_S = 5
"""What a task may take besides its walltime: to reach its worker, and to be ended."""


def build(resolved: ResolvedExecutor, provider: Any, folder: Path) -> Any:
    """An executor whose processes end with this one; `folder` has a name that needs no quoting in a shell."""
    from parsl.executors import HighThroughputExecutor
    from parsl.executors.high_throughput import executor as htex

    leash_file = folder / f"{resolved.label}.leash.json"
    leash_file.write_text(json.dumps(leash_facts(resolved, folder)))
    start = shlex.join([host_python(resolved), supervisor.__file__, str(leash_file), *_pool(resolved, folder)])
    words = htex.DEFAULT_LAUNCH_CMD.split(" ", 1)[1]
    made = HighThroughputExecutor(
        label=resolved.label,
        provider=provider,
        address=resolved.table.address or local_address(resolved),
        loopback_address="127.0.0.1",
        interchange_launch_cmd=[
            *(sys.executable, supervisor.__file__, str(leash_file)),
            *(sys.executable, light_parsl.__file__, _beside_python("interchange.py")),
        ],
        launch_cmd=start.replace("{", "{{").replace("}", "}}") + " " + words,
        worker_logdir_root=str(folder),
        max_workers_per_node=resolved.workers_per_node,
        cores_per_worker=1e-6,  # the number of workers is ours; Parsl only caps it by cores
        cpu_affinity="block" if hasattr(os, "sched_setaffinity") else "none",
        available_accelerators=list(resolved.gpus),
        block_error_handler=False,  # runtime/blocks.py watches
        heartbeat_period=HEARTBEAT_S,
        heartbeat_threshold=DEAD_AFTER_S,
        prefetch_capacity=0,
        encrypted=True,
    )  # fmt: skip
    made.drain_period = _drain_period(resolved)  # type: ignore[assignment, unused-ignore]  # Parsl only pastes it
    return made


def bound(executor: Any) -> None:
    """Let no question to the interchange wait for the answer of one that has died; call it once it has started.

    Parsl asks without a time limit, from its own thread and on its way out.
    """
    import zmq

    client = executor.command_client

    def wait(flag: int) -> None:
        while not client.zmq_socket.poll(ANSWER_POLL_MS, flag):
            if executor.interchange_proc.poll() is not None:
                raise OSError("the interchange has ended")

    def run(message: Any, max_retries: int = 3, timeout_s: float | None = None) -> Any:
        with client._lock:
            wait(zmq.POLLOUT)
            client.zmq_socket.send_pyobj(message)
            wait(zmq.POLLIN)
            return client.zmq_socket.recv_pyobj()

    client.run = run


def host_python(resolved: ResolvedExecutor) -> str:
    """The Python that holds the leash: outside a container, where the processes are."""
    return sys.executable if resolved.environment.container else resolved.python


def _pool(resolved: ResolvedExecutor, folder: Path) -> list[str]:
    """How the worker pool is started, without its arguments."""
    if resolved.environment.container:
        # the folder's own name may be a link to one with a name that a shell would read
        inside = container.words(resolved, folder, folder.resolve())
        return [*inside, resolved.python, "-m", "parsl.executors.high_throughput.process_worker_pool"]
    return [resolved.python, light_parsl.__file__, str(Path(resolved.python).with_name("process_worker_pool.py"))]


def leash_facts(resolved: ResolvedExecutor, folder: Path) -> dict[str, Any]:
    threads = str(resolved.context["threads"])
    env = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads)
    env.update(PYTHONUNBUFFERED="1", **resolved.context["env"])
    pid = os.getpid()
    host = os.uname().nodename
    return {"host": host, "pid": pid, "started": lock.started(pid), "cwd": str(folder), "env": env}


def _beside_python(script: str) -> str:
    """A script of the environment psiflow runs in, by absolute path: PATH may lack it (cron, `env -i`)."""
    return str(Path(sys.executable).with_name(script))


def local_address(resolved: ResolvedExecutor) -> str | None:
    """Where workers find this host: loopback if they run on it, its own name's address inside a SLURM job.

    None, for a batch system, lets each worker try every address that this host has.
    """
    from parsl.addresses import address_by_hostname

    if resolved.provider.type != "local":
        return None
    return "127.0.0.1" if resolved.nodes == 1 else str(address_by_hostname())


def _drain_period(resolved: ResolvedExecutor) -> str | None:
    """How old (s) a worker pool may be when a task starts in it, so that the task ends before the block does.

    It is shell arithmetic: `SECONDS` is the age of the block's script, whose `worker_init` may have taken its time.
    """
    block, task = resolved.provider.block_walltime, resolved.context["walltime"]
    if not block or not task:
        return None
    age = max(1, int(block - task - DRAIN_MARGIN_S))
    return f"$(({age} > SECONDS ? {age} - SECONDS : -1))"  # 0 would be no limit
