"""All that psiflow uses of Parsl beyond its public interface, so that a new Parsl has one file to be held against.

Seen in Parsl 2026.10.26. `tests/runtime/test_parsl_internals.py` checks each name against the Parsl that is installed;
providers have `providers/_parsl_internals.py`, the interchange has `executors/_interchange.py`, and the workers'
side is in `worker/pool/parsl_result_queue.py`.
"""

from __future__ import annotations

import importlib
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from psiflow_cli.errors import BadConfig

if TYPE_CHECKING:
    from parsl.executors import HighThroughputExecutor, ThreadPoolExecutor, WorkQueueExecutor
    from parsl.executors.base import ParslExecutor
    from parsl.executors.status_handling import BlockProviderExecutor
    from parsl.jobs.states import JobStatus
    from parsl.providers.base import ExecutionProvider

SEEN_IN = "2026.10.26"
DEBIAN = str(Path(__file__).with_name("debian"))
"""Has a stand-in for the package `ndcctools`, for Debian's Work Queue; last on `sys.path`."""
POOL_MODULE = "parsl.executors.high_throughput.process_worker_pool"
POOL_SCRIPT = "process_worker_pool.py"
"""A program that Parsl installs beside its Python; by absolute path, since PATH may lack it."""
BLOCK_STDERR = "**/*.sh.err"  # what the blocks' scripts said, below Parsl's folder
_TASK_FILES = "*/*/function_data"  # what Work Queue sends and gets back, below Parsl's folder
_ANSWER_POLL_MS = 200


def require(owner: object, *names: str) -> None:
    """Raise BadConfig where this Parsl has not what psiflow reaches into."""
    from parsl.version import VERSION

    for name in names:
        if not hasattr(owner, name):
            what = getattr(owner, "__name__", type(owner).__name__)
            problem = f"parsl {VERSION}: {what} has no {name}; see runtime/parsl_internals.py"
            raise BadConfig(problem, f"pip install parsl=={SEEN_IN}")


# HTEX: launch commands and the interchange


def pool_launch_command(start: str, patience: int) -> str:
    """The template of a block's command, with the words of a shell that start its pool in place of Parsl's own.

    Parsl would look for its script on PATH, with the environment and the Python of the block's shell, and have the pool
    wait for the interchange as many seconds as that waits for it.
    """
    from parsl.executors.high_throughput import executor

    require(executor, "DEFAULT_LAUNCH_CMD")
    options = executor.DEFAULT_LAUNCH_CMD.split(" ", 1)[1].replace("{heartbeat_threshold}", str(patience))
    return f"{_in_template(start)} {options}"


def _in_template(text: str) -> str:
    """As it must stand in a template for `str.format`."""
    return text.replace("{", "{{").replace("}", "}}")


def set_drain_period(executor: HighThroughputExecutor, arithmetic: str | None) -> None:
    """Give pools shell arithmetic for their drain period: Parsl wants a number, but only pastes it into the command."""
    require(executor, "drain_period")
    executor.drain_period = cast("int | None", arithmetic)


def bound_questions(executor: HighThroughputExecutor) -> None:
    """Let no question to the interchange wait for the answer of one that has died; call it once it has started.

    Parsl asks without a time limit, from its own thread and on its way out.
    """
    import zmq

    require(executor, "command_client", "interchange_proc")
    client: Any = executor.command_client
    require(client, "zmq_socket", "_lock", "run")

    def wait(flag: int) -> None:
        while not client.zmq_socket.poll(_ANSWER_POLL_MS, flag):
            if interchange_has_ended(executor):
                raise OSError("the interchange has ended")

    def run(message: object, max_retries: int = 3, timeout_s: float | None = None) -> object:
        with client._lock:
            wait(zmq.POLLOUT)
            client.zmq_socket.send_pyobj(message)
            wait(zmq.POLLIN)
            return client.zmq_socket.recv_pyobj()

    client.run = run


def interchange_has_ended(executor: ParslExecutor) -> bool:
    """Whether the process between command and workers is gone; Parsl itself does not look."""
    process = getattr(executor, "interchange_proc", None)
    return process is not None and process.poll() is not None


def has_workers(executor: ParslExecutor) -> bool:
    """Whether a worker pool is connected; True where that cannot be told: Work Queue's give up by themselves."""
    managers = getattr(executor, "connected_managers", None)
    return managers is None or bool(managers())


def pools_of_blocks(executor: ParslExecutor) -> dict[str, int]:
    """How many worker pools are connected from each block, one of each node; Work Queue and threads do not say."""
    managers = getattr(executor, "connected_managers", list)
    return Counter(str(manager["block_id"]) for manager in managers())


def set_addresses(executor: HighThroughputExecutor, addresses: list[str], listen_on: str | None) -> None:
    """Let workers try these addresses of this host, and listen on one of its interfaces, or on all of them."""
    require(executor, "address", "all_addresses")
    executor.address = listen_on
    executor.all_addresses = set(addresses)


def addresses(executor: ParslExecutor) -> list[str]:
    """Where HTEX's workers look for this host."""
    return sorted(getattr(executor, "all_addresses", ()))


# Blocks


def statuses(executor: ParslExecutor) -> dict[str, JobStatus] | None:
    """The state of every block, by Parsl's number for it; None for threads, which have no blocks."""
    from parsl.executors import ThreadPoolExecutor

    if isinstance(executor, ThreadPoolExecutor):
        return None
    require(executor, "status_facade", "blocks_to_job_id")
    return dict(cast("BlockProviderExecutor", executor).status_facade)


def job_of(executor: ParslExecutor, block: str) -> str | None:
    """The batch system's id of a block; None for a block that was refused, or is not known."""
    job = cast("BlockProviderExecutor", executor).blocks_to_job_id.get(block)
    return None if job is None else str(job)


def allow_blocks(executor: ParslExecutor, limit: int) -> None:
    """Let Parsl start no block beyond a number: it would ask again twice a second, and has no call for it."""
    provider = cast("BlockProviderExecutor", executor).provider
    require(provider, "max_blocks")
    cast("ExecutionProvider", provider).max_blocks = limit


def cancel_blocks(executor: ParslExecutor, blocks: list[str]) -> None:
    """Cancel the jobs of these blocks at once; Parsl's own scaling first waits for the interchange."""
    owner = cast("BlockProviderExecutor", executor)
    jobs = [owner.blocks_to_job_id[block] for block in blocks if block in owner.blocks_to_job_id]
    if jobs and owner.provider:
        owner.provider.cancel(jobs)


def block_of_pool(folder: Path, pool: str) -> str:
    """The block whose worker pool this is, by the folder of its log in that of the executor; "" if there is none."""
    log = next(folder.glob(f"block-*/{pool}"), None)
    return log.parent.name.removeprefix("block-") if log else ""


# Errors of tasks


def host_of_lost_worker(error: BaseException) -> str | None:
    """Where the worker process of an HTEX task died; None for another error."""
    from parsl.executors.high_throughput.errors import WorkerLost

    return str(error.hostname) if isinstance(error, WorkerLost) else None


def lost_pool(error: BaseException) -> tuple[str, str] | None:
    """(name, host) of the HTEX worker pool that a task was lost with; None for another error."""
    from parsl.executors.high_throughput.errors import ManagerLost

    return (error.manager_id.decode(errors="replace"), error.hostname) if isinstance(error, ManagerLost) else None


def could_not_start(error: BaseException) -> bool:
    """Whether Parsl has given the executor up."""
    from parsl.executors.errors import BadStateException

    return isinstance(error, BadStateException)


def work_queue_reason(error: BaseException) -> str | None:
    """Why Work Queue has no result of a task; None for another error."""
    from parsl.executors.workqueue.errors import WorkQueueTaskFailure

    if not isinstance(error, WorkQueueTaskFailure) or error.status is not None:
        return None
    return error.reason.removeprefix("work queue result: ")


# Work Queue and threads


def why_no_work_queue() -> str:
    """Why Work Queue cannot be used from here, or ""; Debian's has another name than Parsl imports."""
    if DEBIAN not in sys.path:
        sys.path.append(DEBIAN)  # passed on to the process that Parsl spawns
    try:
        importlib.import_module("ndcctools.work_queue")
    except ImportError as error:
        return f"Python cannot import Work Queue: {error}"
    return ""


def work_queue_class() -> type[WorkQueueExecutor]:
    """Parsl's class; its module is loaded again if it looked for Work Queue before that could be found."""
    module = importlib.import_module("parsl.executors.workqueue.executor")
    require(module, "_work_queue_enabled")
    if not module._work_queue_enabled:
        module = importlib.reload(module)
    return cast("type[WorkQueueExecutor]", module.WorkQueueExecutor)


def leave_blocks_alone(executor: WorkQueueExecutor) -> None:
    """Switch off Parsl's watch over blocks, which HTEX has a parameter for: runtime/blocks.py watches."""
    from parsl.jobs.error_handlers import noop_error_handler

    require(executor, "block_error_handler")
    executor.block_error_handler = noop_error_handler


def try_all_addresses(executor: WorkQueueExecutor, addresses: list[str]) -> None:
    """Let workers try these addresses of this host one after another: Parsl knows one only."""
    require(executor, "address", "_construct_worker_command")
    started: Any = executor
    construct = started._construct_worker_command

    def construct_with_all() -> str:
        port, command = started._chosen_port, str(construct())
        one, all_of_them = f"{started.address} {port}", ";".join(f"{address}:{port}" for address in addresses)
        return f"{command.removesuffix(one)}'{all_of_them}'" if command.endswith(f" {one}") else command

    if len(addresses) > 1:
        started._construct_worker_command = construct_with_all


def set_task_start(executor: WorkQueueExecutor, start: str) -> None:
    """Start a task's process by these words of a shell; Parsl would take the first `python3` on the worker's PATH."""
    require(executor, "launch_cmd")
    executor.launch_cmd = f"{_in_template(start)} {executor.launch_cmd.removeprefix('{package_prefix}python3 ')}"


def task_files(folder: Path) -> Iterator[Path]:
    """Folders below Parsl's own that hold what Work Queue sent and got back."""
    return folder.glob(_TASK_FILES)


def stop_threads(executor: ThreadPoolExecutor) -> None:
    """Begin with no more tasks, which Parsl has no call for."""
    executor.executor.shutdown(wait=False, cancel_futures=True)


# Submit scripts


def block_command(executor: ParslExecutor, folder: Path, port: int) -> str:
    """What a block of HTEX starts; what Parsl fills in when it starts is filled in here."""
    stopped: Any = executor
    require(stopped, "run_dir", "worker_port", "cert_dir", "initialize_scaling", "_get_launch_command")
    stopped.run_dir = str(folder)
    stopped.worker_port = port
    stopped.cert_dir = str(folder / "certificates")
    stopped.logconf_path = None
    stopped.initialize_scaling()
    return str(stopped._get_launch_command("0"))
