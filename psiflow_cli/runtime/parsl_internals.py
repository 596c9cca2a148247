"""All that psiflow uses of Parsl beyond its public interface, so that a new Parsl has one file to be held against.

Seen in Parsl 2026.10.26. `tests/runtime/test_parsl_internals.py` checks each name against the Parsl that is installed;
providers have `providers/_parsl_internals.py`, the interchange has `executors/_interchange.py`, what is sent to it
`executors/_messages_to_interchange.py`, and the workers' side is in `worker/pool/parsl_result_queue.py`.
"""

from __future__ import annotations

import contextlib
import glob
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from psiflow_cli.errors import BadConfig

if TYPE_CHECKING:
    from concurrent.futures import Future

    from parsl.executors import HighThroughputExecutor, ThreadPoolExecutor
    from parsl.executors.base import ParslExecutor
    from parsl.executors.status_handling import BlockProviderExecutor
    from parsl.jobs.states import JobStatus
    from parsl.providers.base import ExecutionProvider

    from psiflow_cli.runtime.batch_queue.cost import Usage

SEEN_IN = "2026.10.26"
POOL_MODULE = "parsl.executors.high_throughput.process_worker_pool"
POOL_SCRIPT = "process_worker_pool.py"
"""A program that Parsl installs beside its Python; by absolute path, since PATH may lack it."""
BLOCK_STDERR = "**/*.sh.err"  # what the blocks' scripts said, below Parsl's folder


def require(owner: object, *names: str) -> None:
    """Raise BadConfig where this Parsl has not what psiflow reaches into."""
    from parsl.version import VERSION

    for name in names:
        if not hasattr(owner, name):
            what = getattr(owner, "__name__", type(owner).__name__)
            problem = f"parsl {VERSION}: {what} has no {name}; see runtime/parsl_internals.py"
            raise BadConfig(problem, f"pip install parsl=={SEEN_IN}")


@contextlib.contextmanager
def known_parsl() -> Iterator[None]:
    """Turn what an unknown Parsl answers, that it lacks a module, a name or a parameter, into BadConfig."""
    from parsl.version import VERSION

    try:
        yield
    except (ImportError, AttributeError, TypeError) as error:
        if not _is_about_parsl(error):
            raise
        problem = f"parsl {VERSION} is not supported by psiflow: {error}"
        raise BadConfig(problem, f"pip install parsl=={SEEN_IN}") from error


def _is_about_parsl(error: ImportError | AttributeError | TypeError) -> bool:
    if isinstance(error, TypeError):
        # psiflow's calls of its own functions are checked by their types
        return re.search(r"(keyword|positional) argument", str(error)) is not None
    if isinstance(error, ImportError):
        origin = error.name or ""
    else:
        owner = error.obj if isinstance(error.obj, type | ModuleType) else type(error.obj)
        origin = owner.__module__ if isinstance(owner, type) else owner.__name__
    return origin.partition(".")[0] == "parsl"


# HTEX: launch commands and the interchange


def pool_launch_command(start: str, patience: int) -> str:
    """The template of a block's command, with the words of a shell that start its pool in place of Parsl's own.

    Parsl would look for its script on PATH, with the environment and the Python of the block's shell, and have the pool
    wait for the interchange as many seconds as that waits for it.
    """
    from parsl.executors.high_throughput import executor

    require(executor, "DEFAULT_LAUNCH_CMD")
    options = executor.DEFAULT_LAUNCH_CMD.split(" ", 1)[1].replace("{heartbeat_threshold}", str(patience))
    return f"{in_template(start)} {options}"


def in_template(text: str) -> str:
    """As it must stand in a template for `str.format`."""
    return text.replace("{", "{{").replace("}", "}}")


def set_drain_period(executor: HighThroughputExecutor, arithmetic: str | None) -> None:
    """Give pools shell arithmetic for their drain period: Parsl wants a number, but only pastes it into the command."""
    require(executor, "drain_period")
    executor.drain_period = cast("int | None", arithmetic)


def interchange_has_ended(executor: ParslExecutor) -> bool:
    """Whether the process between command and workers is gone; Parsl itself does not look."""
    process = getattr(executor, "interchange_proc", None)
    return process is not None and process.poll() is not None


def connected_blocks(executor: ParslExecutor) -> set[str] | None:
    """The blocks that have a worker pool which is connected; None where that cannot be told, as with Work Queue."""
    managers = getattr(executor, "connected_managers", None)
    return None if managers is None else {str(manager["block_id"]) for manager in managers()}


def never_connected(executor: ParslExecutor, status: JobStatus) -> bool:
    """Whether no worker of a block that has ended ever connected; True where that cannot be told."""
    return status.state.name == "MISSING" or not hasattr(executor, "connected_managers")


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


def job_of(executor: ParslExecutor, block: str) -> str:
    """The batch system's id of a block; "" for a block that was refused, or is not known."""
    return str(cast("BlockProviderExecutor", executor).blocks_to_job_id.get(block) or "")


def usage(executor: ParslExecutor, job: str) -> Usage | None:
    """What a provider of psiflow's has noted of a job; None where its batch system does not say."""
    return cast("Usage | None", _facts(executor, job).get("usage"))


def log_begun(executor: ParslExecutor, job: str) -> float | None:
    """Since when a job has had a log (seconds since 1970): it has begun by then; None if it has none."""
    paths = [_facts(executor, job).get(f"job_{name}_path") for name in ("stdout", "stderr")]
    return min((os.stat(path).st_mtime for path in paths if path and os.path.exists(path)), default=None)


def _facts(executor: ParslExecutor, job: str) -> dict[str, Any]:
    """What a provider keeps of a job."""
    facts: dict[str, Any] = getattr(cast("BlockProviderExecutor", executor).provider, "resources", {}).get(job, {})
    return facts


def allow_blocks(executor: ParslExecutor, limit: int) -> None:
    """Let Parsl start no block beyond a number: it would ask again twice a second, and has no call for it."""
    provider = cast("BlockProviderExecutor", executor).provider
    require(provider, "max_blocks")
    cast("ExecutionProvider", provider).max_blocks = limit


def ask_for_blocks(executor: ParslExecutor, number: int) -> None:
    """Ask for blocks now, which Parsl itself does once at most with the strategy `none`."""
    cast("BlockProviderExecutor", executor).scale_out_facade(number)


def cancel_blocks(executor: ParslExecutor, blocks: list[str]) -> None:
    """Cancel the jobs of these blocks at once; Parsl's own scaling first waits for the interchange."""
    owner = cast("BlockProviderExecutor", executor)
    jobs = [owner.blocks_to_job_id[block] for block in blocks if block in owner.blocks_to_job_id]
    if jobs and owner.provider:
        owner.provider.cancel(jobs)


def block_of_pool(folder: Path, pool: str) -> str:
    """The block whose worker pool this is, by the interchange's log; `folder` is the executor's, among the runs' own.

    Returns "" if there is none.
    """
    registered = re.compile(rf"'uid': '{re.escape(pool)}', 'block_id': '([^']*)'")
    for log in folder.parent.glob(f"*/{glob.escape(folder.name)}/interchange.log"):
        with log.open(errors="replace") as stream:
            for line in stream:
                if match := registered.search(line):
                    return match[1]
    return ""


# Errors of tasks


def error_of(future: Future[bytes]) -> BaseException | None:
    """Why an executor has no result of a task; Work Queue returns what its process raised in place of a result."""
    from parsl.app.errors import RemoteExceptionWrapper

    error = future.exception()
    result = None if error else future.result()
    if isinstance(result, RemoteExceptionWrapper):
        try:
            result.reraise()
        except Exception as remote:
            return remote
    return error


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


def stop_threads(executor: ThreadPoolExecutor) -> None:
    """Begin with no more tasks, which Parsl has no call for."""
    executor.executor.shutdown(wait=False, cancel_futures=True)


# Submit scripts


def block_command(executor: ParslExecutor, folder: Path, port: int) -> str:
    """What a block of HTEX or Work Queue starts; what Parsl fills in when it starts is filled in here."""
    stopped: Any = executor
    require(stopped, "run_dir", "initialize_scaling", "_get_launch_command")
    stopped.run_dir = str(folder)
    if hasattr(stopped, "project_password_file"):  # Work Queue
        stopped._chosen_port = port
    else:
        require(stopped, "cert_dir")
        stopped.worker_port = port
        stopped.cert_dir = str(folder / "certificates")
        stopped.logconf_path = None
    stopped.initialize_scaling()
    return str(stopped._get_launch_command("0"))
