"""One Parsl-backed stage: start the executors, submit tasks, hand out their outcomes, stop in order."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import queue
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from psiflow_cli import duration, protocols, registry
from psiflow_cli.console import detail, note, stdout_on_stderr
from psiflow_cli.errors import NO_RESOURCES, PsiflowError
from psiflow_cli.runtime import parsl_internals
from psiflow_cli.runtime.block_faults import output
from psiflow_cli.runtime.block_faults.giving_up import no_resources
from psiflow_cli.runtime.block_faults.lost_workers import LostWorkers
from psiflow_cli.runtime.blocks import Blocks
from psiflow_cli.runtime.executors._interchange import start_kernel
from psiflow_cli.runtime.executors._partial_blocks import PartialBlocks
from psiflow_cli.runtime.logs import archive, parsl_folder, tracebacks
from psiflow_cli.runtime.stop.signals import StopSignals
from psiflow_cli.runtime.task import Loss, Outcome, Task
from psiflow_cli.site.executor import ResolvedExecutor
from psiflow_cli.worker.failures import environment_code
from psiflow_cli.worker.pool import call, place, watchdog
from psiflow_cli.worker.process import inherited_variables

if TYPE_CHECKING:
    from parsl import DataFlowKernel

    from psiflow_cli import messages

_TICK_S = 0.5
_TELL_EVERY_S = 30.0
_DIED = "its worker on host {} died"
_UNLUCKY = 10  # a task that was lost so often with its node is to blame for it


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
        self._tick = tick or self._tell_waits
        self._told, self._next_look = time.monotonic(), 0.0
        self._done: queue.SimpleQueue[tuple[Task, Future[bytes]] | None] = queue.SimpleQueue()
        self._signals = StopSignals(deadline, lambda: self._done.put(None))
        self._kernel: DataFlowKernel | None = None
        self._resources: dict[str, int] = {}  # that Parsl asks for with each task
        self._hosts: set[str] = set()  # where tasks have run
        self.pending = 0
        self._numbers = itertools.count()
        self._archive = archive.Archive(folder / "logs" / archive.FINISHED)
        self._last_words = str(folder.absolute() / "logs" / str(os.getpid()))
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Session:
        self._stack.enter_context(self._signals)
        try:
            with parsl_internals.known_parsl():
                self._start()
        except BaseException as error:
            self.__exit__(type(error), error)
            raise
        return self

    def _start(self) -> None:
        import parsl

        parsl_folder.gather(self._folder / "parsl")
        folder = self._stack.enter_context(parsl_folder.shell_safe(self._folder / "parsl"))
        self._clean_environment()
        provider = registry.load("runtime.providers", self.executor.provider.type).build(
            self.executor.provider, self.executor
        )
        self._kind = registry.load("runtime.executors", self.executor.table.type)
        self._parsl_executor = self._kind.build(self.executor, provider, folder)
        if isinstance(self._kind, protocols.Tidies):
            self._stack.callback(self._kind.tidy, folder)
        self._blocks = Blocks(self._parsl_executor, self.executor, self._folder)
        self._lost_workers = LostWorkers(self.executor, self._blocks.nodes, self._blocks.leave_out)
        self._partial_blocks = PartialBlocks(self._parsl_executor, self.executor, self._folder / "parsl")
        config = parsl.Config(
            executors=[self._parsl_executor], run_dir=str(folder), strategy=self._strategy(),
            strategy_period=_TICK_S, max_idletime=float(duration.parse(self.executor.table.idle_time)),
            usage_tracking=0, initialize_logging=False,
        )  # fmt: skip
        if self.executor.run.log_level != "off":
            level = logging.getLevelName(self.executor.run.log_level.upper())
            self._stack.callback(parsl.set_file_logger(str(folder / "parsl.log"), level=level))
        self._kernel = start_kernel(config, self._parsl_executor)
        if isinstance(self._kind, protocols.Starts):
            self._kind.started(self._parsl_executor)
        if isinstance(self._kind, protocols.AsksForResources):
            self._resources = self._kind.resources(self.executor)

    def _clean_environment(self) -> None:
        """Let blocks inherit nothing that overrules the site, and say in a line what was taken out."""
        provider = self.executor.provider
        if self.executor.table.type == "threads":
            self._stack.enter_context(stdout_on_stderr())
            return  # they are in this process, whose libraries have read theirs already
        environment = inherited_variables.for_blocks(provider.type, getattr(provider, "keep_variables", ()))
        taken = self._stack.enter_context(inherited_variables.replaced(environment))
        if words := inherited_variables.worth_saying(taken, provider.type):
            what = "jobs" if provider.type in inherited_variables.BATCH_SYSTEMS else "workers"
            note(f"not passed on to {what}: {words} ([providers.{self.executor.table.provider}] keep_variables)")

    def _strategy(self) -> str:
        """Parsl's name for how blocks come and go.

        `htex_auto_scale` counts a block whose workers have not registered yet as idle for ever, and cancels and
        resubmits it as long as there are fewer tasks than slots.
        """
        return "simple" if self.executor.run.strategy == "auto" else self.executor.run.strategy

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        if self._kernel is not None:
            self._close()
        self._stack.close()
        self._archive.close()
        if error is None:
            parsl_folder.gather(self._folder / "parsl", blocks_may_end=self.executor.provider.type != "local")

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
        task.submitted = time.monotonic()
        watched = ""
        if self.executor.table.type != "threads":  # in threads of this process nothing may end the process
            watched = task.hang_log
            task.last_words = f"{self._last_words}-{next(self._numbers)}.last-words"
        with contextlib.suppress(OSError):
            os.unlink(watched)  # of an earlier try
        avoid = self._lost_workers.avoid(task)
        packed = call.pack((task.function, task.payload, watched, task.last_words, avoid))
        try:
            # not by Parsl's data flow kernel: its bookkeeping of a task costs more than all that is done here
            future = self._parsl_executor.submit(call.call_packed, self._resources, packed)
        except Exception as error:
            future = Future()
            future.set_exception(error)
        future.add_done_callback(lambda done: self._done.put((task.came_back(), done)))

    def next(self) -> tuple[Task, Outcome]:
        """Wait for one task's outcome.

        Raises Stopped on a signal or at the deadline, NoResources when no worker comes, and what a `Fatal` says.
        """
        while True:
            self._signals.check()
            if (now := time.monotonic()) >= self._next_look:
                self._next_look = now + _TICK_S
                self._tick()
                self._blocks.look(self.pending)
                self._partial_blocks.look()
            try:
                item = self._done.get(timeout=min(_TICK_S, max(0.01, self.remaining())))
            except queue.Empty:
                continue
            if item is not None and (ended := self._ended(*item)):
                return ended

    def _ended(self, task: Task, future: Future[bytes]) -> tuple[Task, Outcome] | None:
        """What became of a task; None where it is submitted again, since it is to run elsewhere."""
        self.pending -= 1
        if outcome := self._outcome(task, future):
            return task, outcome
        task.refusals += 1
        self.submit(task)
        return None

    def batch(self) -> Iterator[tuple[Task, Outcome]]:
        """Wait for one task's outcome, as `next` does; with it come the others that are there by then."""
        yield self.next()
        for _ in range(self._done.qsize()):
            item = self._done.get_nowait()  # what is none wakes up `next` to look at the signals
            if item and (ended := self._ended(*item)):
                yield ended

    def _tell_waits(self) -> None:
        """Say now and then what is waited for, in place of a caller that has no progress to show."""
        if time.monotonic() - self._told >= _TELL_EVERY_S and (waits := self.waits()):
            self._told = time.monotonic()
            note(", ".join(waits))

    def waits(self) -> list[str]:
        """What to tell as long as no block runs; see `Blocks.waits`."""
        return self._blocks.waits()

    def progressed(self) -> None:
        """Say that a task which has not ended yet got on: its block was worth its time."""
        self._blocks.worked()

    def _outcome(self, task: Task, future: Future[bytes]) -> Outcome | None:
        error = parsl_internals.error_of(future)
        if error is not None:
            return self._lost(task, error)
        try:
            result: messages.Outcome = call.unpack(future.result())
        except Exception as error:  # of a module that only the workers have
            return Outcome(error=f"what came back cannot be read: {type(error).__name__}: {error}")
        if "elsewhere" in result:
            return None
        if result["host"] not in self._hosts:
            self._hosts.add(result["host"])
            detail(f"a task came back from host {result['host']}")
        if logs := result.get("logs"):
            self._archive.append(logs)
        if "fatal" in result:
            return self._given_back(task, result)
        self._blocks.worked(result.get("block", ""))
        if "value" in result:
            self._lost_workers.finished(task, result.get("places", ()))
        log = tracebacks.add(self._folder, result.get("traceback", ""))
        return Outcome(result.get("value"), result.get("error", ""), log, seconds=result["seconds"])

    def _given_back(self, task: Task, result: messages.Outcome) -> Outcome:
        """What no frame is to blame for: a node that lacks what others have, or else the end."""
        fatal, hint = result["fatal"], result["hint"]
        if self._blocks.condemn(result.get("block", ""), fatal):
            task.losses.append(Loss(""))
            return Outcome(lost=fatal, blame=int(len(task.losses) > _UNLUCKY))
        if not re.search(r"\blogs?\b", hint):
            hint = "; ".join(filter(None, (hint, f"logs: {self._folder}")))
        if result["exit_code"] == NO_RESOURCES:
            raise no_resources(self._folder, fatal, hint)
        raise PsiflowError(fatal, hint, result["exit_code"])

    def _lost(self, task: Task, error: BaseException) -> Outcome:
        walltime = self.executor.context["walltime"]
        died_alone = parsl_internals.host_of_lost_worker(error) is not None  # as one that hung does
        if watchdog.found_hanging(task.hang_log, task.hang_log_until(walltime) if died_alone else 0.0):
            return Outcome(lost=f"still running after {walltime:g} s", hung=True, blame=1)
        if parsl_internals.could_not_start(error):
            message = f"no worker could be started: {output.last_error(self._folder / 'parsl', str(error))}"
            raise no_resources(self._folder, message, f"logs: {self._folder / 'parsl'}")
        words = place.last_words(task.last_words)
        if (host := parsl_internals.host_of_lost_worker(error)) is not None:
            where = words["place"] if words else place.short(host)
            lost = f"the GPU computes nothing more on {where}: {words['message']}" if words else _DIED.format(host)
            blame = self._lost_workers.lost(task, where, words["message"] if words else "")
            return Outcome(lost=lost, blame=blame or int(len(task.losses) > _UNLUCKY))
        if pool := parsl_internals.lost_pool(error):
            lost, alone = self._blocks.describe_loss(*pool), False
        elif isinstance(self._kind, protocols.ExplainsLoss) and (loss := self._kind.lost(error)):
            lost, alone = loss
            lost = f"{lost} ({words['message']})" if words else lost
        else:
            text = f"{type(error).__name__}: {error}"
            code = environment_code(text) or None
            raise PsiflowError(f"a task could not be run: {text}", f"logs: {self._folder / 'parsl'}", code)
        task.losses.append(Loss(""))
        return Outcome(lost=lost, blame=int(alone or len(task.losses) > _UNLUCKY))
