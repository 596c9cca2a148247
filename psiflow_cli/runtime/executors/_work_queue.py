"""What is needed of Parsl's Work Queue executor and is not Parsl's public way; see `runtime/parsl_internals.py`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from psiflow_cli.runtime.parsl_internals import in_template, require

if TYPE_CHECKING:
    from parsl.executors import WorkQueueExecutor


DEBIAN = str(Path(__file__).parent.with_name("debian"))
"""Has a stand-in for the package `ndcctools`, for Debian's Work Queue; last on `sys.path`."""
_TASK_FILES = "*/*/function_data"  # what Work Queue sends and gets back, below Parsl's folder


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
    """Switch off what Parsl does with blocks by itself.

    That is its watch over them, which HTEX has a parameter for, since runtime/blocks.py watches; and under HTCondor, to
    put `./` before the worker's command and to send it along, since it is on a shared file system.
    """
    from parsl.jobs.error_handlers import noop_error_handler

    require(executor, "block_error_handler", "_patch_providers")
    executor.block_error_handler = noop_error_handler
    cast("Any", executor)._patch_providers = lambda: None


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
    executor.launch_cmd = f"{in_template(start)} {executor.launch_cmd.removeprefix('{package_prefix}python3 ')}"


def task_files(folder: Path) -> Iterator[Path]:
    """Folders below Parsl's own that hold what Work Queue sent and got back."""
    return folder.glob(_TASK_FILES)
