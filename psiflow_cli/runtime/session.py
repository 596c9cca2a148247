"""One Parsl-backed stage: start the executors, submit tasks, hand out their outcomes, stop in order."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psiflow_cli import duration, protocols, registry
from psiflow_cli.console import detail
from psiflow_cli.errors import NO_RESOURCES, PsiflowError
from psiflow_cli.runtime import parsl_internals
from psiflow_cli.runtime.block_record import end_stale
from psiflow_cli.runtime.blocks import Blocks, no_resources
from psiflow_cli.runtime.executors._partial_blocks import PartialBlocks
from psiflow_cli.runtime.signals import StopSignals
from psiflow_cli.site.executor import ResolvedExecutor
from psiflow_cli.worker.failures import environment_code
from psiflow_cli.worker.pool import call, watchdog

if TYPE_CHECKING:
    from concurrent.futures import Future

    from parsl import DataFlowKernel

    from psiflow_cli import messages

_TICK_S = 0.5
_UNLUCKY = 10  # a task that was lost so often with its node is to blame for it


@dataclass
class Task:
    """One call on a worker: `target` is `module:function`, `payload` its keyword arguments, `note` the caller's own."""

    function: str
    payload: Mapping[str, Any]
    note: Any = None
    tries: int = 1
    losses: int = 0  # how often it was lost before, with its worker alone or with a whole node
    hang_log: str = ""
    """Where its worker says where it stood when the walltime was up; empty: nothing ends a task that hangs."""


@dataclass
class Outcome:
    """What became of a task: a value, an error's text, or lost with its worker."""

    value: Any = None
    error: str = ""
    log: str = ""  # the file that has the error's traceback
    lost: str = ""
    hung: bool = False  # lost because it took longer than its walltime
    blame: bool = False
    """Lost alone, and not with its whole node, or with too many nodes: the task itself may be why."""
    seconds: float = 0.0


class Session:
    """Context manager around one executor; use from the main thread."""

    def __init__(
        self,
        executor: ResolvedExecutor,
        folder: Path,
        deadline: float | None = None,
        tick: Callable[[], None] | None = None,
    ) -> None:
        self.executor = executor
        self._folder = folder
        self._tick = tick or (lambda: None)
        self._done: queue.SimpleQueue[tuple[Task, Future[messages.Outcome]] | None] = queue.SimpleQueue()
        self._signals = StopSignals(deadline, lambda: self._done.put(None))
        self._kernel: DataFlowKernel | None = None
        self._hosts: set[str] = set()  # where tasks have run
        self.pending = 0
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Session:
        self._stack.enter_context(self._signals)
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self) -> None:
        import parsl

        folder = self._stack.enter_context(shell_safe(self._folder / "parsl"))
        provider = registry.load("runtime.providers", self.executor.provider.type).build(
            self.executor.provider, self.executor
        )
        self._kind = registry.load("runtime.executors", self.executor.table.type)
        self._parsl_executor = self._kind.build(self.executor, provider, folder)
        if isinstance(self._kind, protocols.Tidies):
            self._stack.callback(self._kind.tidy, folder)
        end_stale(self._folder)
        self._blocks = Blocks(self._parsl_executor, self.executor, self._folder)
        self._partial_blocks = PartialBlocks(self._parsl_executor, self.executor, self._folder / "parsl")
        config = parsl.Config(
            executors=[self._parsl_executor], run_dir=str(folder), strategy=self._strategy(),
            strategy_period=_TICK_S, max_idletime=float(duration.parse(self.executor.table.idle_time)),
            usage_tracking=0, initialize_logging=False,
        )  # fmt: skip
        if self.executor.run.log_level != "off":
            level = logging.getLevelName(self.executor.run.log_level.upper())
            self._stack.callback(parsl.set_file_logger(str(folder / "parsl.log"), level=level))
        self._kernel = parsl.DataFlowKernel(config)
        if isinstance(self._kind, protocols.Starts):
            self._kind.started(self._parsl_executor)
        app = parsl.python_app(data_flow_kernel=self._kernel, executors=[self.executor.label], cache=False)(call.call)
        if isinstance(self._kind, protocols.AsksForResources):
            app = partial(app, parsl_resource_specification=self._kind.resources(self.executor))
        self._app = app

    def _strategy(self) -> str:
        """Parsl's name for how blocks come and go.

        `htex_auto_scale` counts a block whose workers have not registered yet as idle for ever, and cancels and
        resubmits it as long as there are fewer tasks than slots.
        """
        return "simple" if self.executor.run.strategy == "auto" else self.executor.run.strategy

    def __exit__(self, *_: object) -> None:
        if self._kernel is not None:
            self._close()
        self._stack.close()

    def _close(self) -> None:
        """End the blocks first, so that no task runs on; Parsl's own order would wait for the interchange."""
        kernel, self._kernel = self._kernel, None
        assert kernel is not None
        for step in (self._stop, self._blocks.end, kernel.cleanup, *(e.shutdown for e in kernel.executors.values())):
            with contextlib.suppress(Exception):
                step()
        self._blocks.forget()

    def _stop(self) -> None:
        if isinstance(self._kind, protocols.Stops):
            self._kind.stop(self._parsl_executor)

    def room(self) -> int:
        """How many more tasks keep every worker busy without queueing far ahead."""
        return max(0, 2 * self.executor.workers + 1 - self.pending)

    def remaining(self) -> float:
        return self._signals.remaining()

    def wind_up(self, seconds: float) -> None:
        """After Stopped or another error: let `submit` and `next` go on for so long, to end in order what runs."""
        self._signals.extend(seconds)

    def submit(self, task: Task) -> None:
        self._signals.check()
        self.pending += 1
        # in threads of this process nothing may end the process
        watched = task.hang_log if self.executor.table.type != "threads" else ""
        with contextlib.suppress(OSError):
            os.unlink(watched)  # of an earlier try
        future = self._app(task.function, task.payload, watched)
        future.add_done_callback(lambda done, task=task: self._done.put((task, done)))

    def next(self) -> tuple[Task, Outcome]:
        """Wait for one task's outcome.

        Raises Stopped on a signal or at the deadline, NoResources when no worker comes, and what a `Fatal` says.
        """
        while True:
            self._signals.check()
            self._tick()
            self._blocks.look(self.pending)
            self._partial_blocks.look()
            try:
                item = self._done.get(timeout=min(_TICK_S, max(0.01, self.remaining())))
            except queue.Empty:
                continue
            if item is not None:
                break
        task, future = item
        self.pending -= 1
        return task, self._outcome(task, future)

    def waits(self) -> list[str]:
        """What to tell as long as no block runs; see `Blocks.waits`."""
        return self._blocks.waits()

    def progressed(self) -> None:
        """Say that a task which has not ended yet got on: its block was worth its time."""
        self._blocks.worked()

    def _outcome(self, task: Task, future: Future[messages.Outcome]) -> Outcome:
        error = future.exception()
        if error is not None:
            return self._lost(task, error)
        self._blocks.worked()
        result = future.result()
        if result["host"] not in self._hosts:
            self._hosts.add(result["host"])
            detail(f"a task has come back from host {result['host']}")
        if "fatal" in result:
            hint = result["hint"]
            if not re.search(r"\blogs?\b", hint):
                hint = "; ".join(filter(None, (hint, f"logs: {self._folder}")))
            if result["exit_code"] == NO_RESOURCES:
                raise no_resources(self._folder, result["fatal"], hint)
            raise PsiflowError(result["fatal"], hint, result["exit_code"])
        return Outcome(
            value=result.get("value"), error=result.get("error", ""), log=self._log(result.get("traceback", "")),
            seconds=result["seconds"],
        )  # fmt: skip

    def _log(self, traceback: str) -> str:
        """The file to which the traceback of a task was added; "" where there is none."""
        if not traceback:
            return ""
        path = self._folder / "logs" / "tracebacks.log"
        with contextlib.suppress(OSError):
            path.parent.mkdir(mode=0o700, exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                file.write(f"{traceback.rstrip()}\n\n")
        return str(path)

    def _lost(self, task: Task, error: BaseException) -> Outcome:
        if watchdog.found_hanging(task.hang_log):
            return Outcome(lost=f"still running after {self.executor.context['walltime']:g} s", hung=True, blame=True)
        if parsl_internals.could_not_start(error):
            message = "no worker could be started" + self._why(str(error))
            raise no_resources(self._folder, message, f"logs: {self._folder / 'parsl'}")
        if (host := parsl_internals.host_of_lost_worker(error)) is not None:
            lost, alone = f"its worker on host {host} died", True
        elif pool := parsl_internals.lost_pool(error):
            lost, alone = self._blocks.describe_loss(*pool), False
        elif isinstance(self._kind, protocols.ExplainsLoss) and (loss := self._kind.lost(error)):
            lost, alone = loss
        else:
            text = f"{type(error).__name__}: {error}"
            code = environment_code(text) or None
            raise PsiflowError(f"a task could not be run: {text}", f"logs: {self._folder / 'parsl'}", code)
        task.losses += 1
        return Outcome(lost=lost, blame=alone or task.losses > _UNLUCKY)

    def _why(self, text: str) -> str:
        """The last telling line of a block's stderr, else the last line of `text`."""
        errors = sorted((self._folder / "parsl").glob(parsl_internals.BLOCK_STDERR))
        stderr = errors[-1].read_text(errors="replace").strip() if errors else ""
        last = (stderr or text.strip() or "no reason given").splitlines()[-1]
        return f": {last.strip().removeprefix('STDERR: ')[:300]}"


@contextlib.contextmanager
def shell_safe(folder: Path) -> Iterator[Path]:
    """`folder`, made, under a name that needs no quoting: Parsl pastes it into shell scripts."""
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if re.fullmatch(r"[A-Za-z0-9_./+,=@:%-]+", str(folder)):
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="psiflow-", dir="/tmp") as elsewhere:
        link = Path(elsewhere) / "parsl"
        link.symlink_to(folder)
        yield link
