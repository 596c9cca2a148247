"""The blocks of a stage: which jobs they are, how long they wait, and whether they die without doing anything.

Parsl would give up at the first block that fails, and replace those that end by a time limit or a cancellation for
ever; so its own watch is off. A run is given up once nothing is connected and nothing else can come.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from psiflow_cli import duration, protocols, registry
from psiflow_cli.console import detail, note
from psiflow_cli.errors import counted
from psiflow_cli.runtime import parsl_internals
from psiflow_cli.runtime.batch_queue import waiting
from psiflow_cli.runtime.batch_queue.cost import Cost
from psiflow_cli.runtime.batch_queue.patient import add_to_scripts, be_patient, end_of, retranslate
from psiflow_cli.runtime.block_faults import output, refusals
from psiflow_cli.runtime.block_faults.admission import LOG, Admission
from psiflow_cli.runtime.block_faults.giving_up import because, no_resources
from psiflow_cli.runtime.block_faults.nodes import Nodes
from psiflow_cli.runtime.block_record import LIVE, BlockState, JobRecord
from psiflow_cli.worker.pool.place import short

if TYPE_CHECKING:
    from parsl.executors.base import ParslExecutor
    from parsl.jobs.states import JobStatus

    from psiflow_cli.site.executor import ResolvedExecutor

_LONGEST_STEP_S = 10.0  # of a block's age, from one look to the next: a host that stood still saw no worker come


class Blocks:
    """Watches an executor's blocks; `look` is cheap and is called twice a second."""

    def __init__(self, executor: ParslExecutor, resolved: ResolvedExecutor, folder: Path) -> None:
        self._executor, self._resolved, self._folder = executor, resolved, folder
        self._record = JobRecord(folder, resolved)
        self._jobs = self._record.jobs
        self._ended: set[str] = set()
        self._useful: set[str] = set()  # blocks that have finished a task
        self._running: dict[str, float] = {}  # s that a block was seen running, until its workers were seen
        self._last_look = self._alone_since = time.time()
        self._refused_blocks = 0
        self._told: set[str] = set()
        self._last_words = ""
        self._condemned: set[str] = set()  # blocks that were ended for their nodes' fault
        self._logs, run = folder / "parsl", resolved.run
        self._admission = Admission(self._logs, run.max_block_failures, float(duration.parse(run.submit_patience)))
        kind = registry.load("runtime.providers", resolved.provider.type)
        provider = self._provider = getattr(executor, "provider", None)
        self._nodes = Nodes(resolved, kind, self._logs, lambda lines: add_to_scripts(provider, lines))
        self._record.nodes = self._nodes.records
        self._most_blocks = getattr(provider, "max_blocks", 1)
        self._is_patient = be_patient(provider, self._admission, self._record, self._at_work)
        if self._is_patient and isinstance(kind, protocols.Retranslates):
            retranslate(provider, kind.STATES)
        self._is_queued = resolved.provider.type != "local"  # whether there is a queue
        self._waiting = waiting.Waiting(resolved, getattr(executor, "provider", None))
        self._cost = Cost(folder, resolved.block_cores)

    def worked(self, block: str = "") -> None:
        """A task has finished or got on: workers are there, and blocks are worth their time."""
        self._admission.is_waiting = False
        self._nodes.worked()
        if block and block not in self._useful:
            self._useful.add(block)
            self._admission.after_deaths.end()
            self._nodes.cleared(block, parsl_internals.job_of(self._executor, block))

    def look(self, pending: int) -> None:
        """Note what became of each block; raises NoResources when there is no hope for the pending tasks."""
        statuses = parsl_internals.statuses(self._executor)
        if statuses is None:
            return  # threads have no blocks
        now = time.time()
        step, self._last_look = min(now - self._last_look, _LONGEST_STEP_S), now
        changed = False
        for block, status in statuses.items():
            job = parsl_internals.job_of(self._executor, block)
            state = BlockState(status.state.name)
            if state == BlockState.PENDING and block in self._useful:
                state = BlockState.RUNNING  # the queue was asked before
            if state == BlockState.RUNNING and block not in self._ended:
                self._running[block] = self._running.get(block, 0.0) + (step if block in self._running else 0.0)
            # a job that has vanished is cancelled at the end nevertheless
            is_sure = end_of(self._provider, job) != BlockState.UNKNOWN
            known = state if is_sure else BlockState.UNKNOWN
            reason = (status.message or "") if state in (BlockState.PENDING, BlockState.HELD) else ""
            before = self._jobs.get(job)
            if job and self._record.moved(job, known, reason):
                changed = True
            if job and (before is None or before["state"] != known):
                detail(f"job {job} of the executor {self._resolved.label}: {state.name.lower()}")
            if job and self._is_queued:
                self._add_up(job, state)
            if status.terminal and block not in self._ended:
                self._bury(block, job, status, pending)
            if status.terminal:
                self._admission.unjudged.discard(job)
        if self._tell_refusal() or changed:
            self._record.write()
        if parsl_internals.interchange_has_ended(self._executor):
            raise no_resources(
                self._folder, "the process that sends the tasks to the workers has died", self._see_logs()
            )
        live = [block for block, status in statuses.items() if not status.terminal and block not in self._ended]
        if live:
            self._alone_since = now
        if pending:
            self._give_up(live)
            self._end_silent(live)
            self._waiting.check(self._jobs)
        self._ask_again()

    def waits(self) -> list[str]:
        """What to tell while every job is still in the queue of a batch system; [] otherwise."""
        # a block that has finished a task runs, also where the batch system has not been asked since it started
        return waiting.summary(self._jobs) if self._is_queued and self._useful <= self._ended else []

    def _add_up(self, job: str, state: BlockState) -> None:
        """Note what a job costs."""
        usage = parsl_internals.usage(self._executor, job)
        if state == BlockState.RUNNING:
            self._cost.runs(job, usage)
        elif state not in LIVE and state != BlockState.UNKNOWN:
            self._cost.ended(job, usage)

    def _bury(self, block: str, job: str, status: JobStatus, pending: int) -> None:
        """Count a block that ended without having been of use while tasks waited for it."""
        self._ended.add(block)
        self._running.pop(block, None)
        if not job:
            self._refused_blocks += 1
            if not self._is_patient:
                self._admission.refused(output.last_complaint(status.message))
        elif pending and block not in self._useful and status.state.name != BlockState.SCALED_IN:
            # whom somebody or a time limit has ended says nothing about its node
            end, never_connected = end_of(self._provider, job), parsl_internals.never_connected(self._executor, status)
            if end == BlockState.CANCELLED and not never_connected:
                self._admission.after_deaths.begin()
                self._nodes.cancelled()
                return
            is_ill = never_connected and end not in (BlockState.CANCELLED, BlockState.TIMEOUT)
            words = output.last_words(self._logs, self._resolved.label, block) or output.last_complaint(status.message)
            self._died(block, words, blame=is_ill)

    def _died(self, block: str, words: str, *, blame: bool) -> None:
        self._last_words = words or self._last_words
        if self._is_queued:
            self._admission.after_deaths.begin()
        job, queued = parsl_internals.job_of(self._executor, block), self._record.in_state(BlockState.PENDING)
        self._nodes.died(block, job, words, blame=blame, queued=queued)
        self._record.write()

    def _give_up(self, live: list[str]) -> None:
        """Raise NoResources once no block lives and none may come; ask for no more while that is in doubt."""
        has_enough = self._nodes.unexplained >= self._resolved.run.max_block_failures
        if live:
            self._admission.is_waiting = has_enough and not self._is_computing(live)
            # on this host, the next one dies as those before it
            if not self._admission.is_waiting or self._resolved.provider.type != "local":
                return
        if self._admission.is_hopeless(self._alone_since):
            raise no_resources(self._folder, *self._refusal())
        never_again = self._resolved.run.strategy == "none" and self._ended and not self._admission.refusal
        if has_enough or never_again:
            raise no_resources(self._folder, self._failures(), self._see_logs())

    def _failures(self) -> str:
        count, nodes = self._nodes.deaths, f" ({self._nodes})" if str(self._nodes) else ""
        return f"{counted(count, 'block')} ended without finishing a task{because(self._last_words)}{nodes}"

    def _refusal(self) -> tuple[str, str]:
        """What to say of a submission that was refused for good."""
        problem = f"no job could be submitted: {self._admission.refusal}"
        if self._nodes.deaths:
            problem = f"{self._failures()}; then {problem}"
        return problem, f"log: {self._logs / LOG}"

    def _at_work(self) -> set[str]:
        """The jobs whose workers are connected."""
        connected = parsl_internals.connected_blocks(self._executor) or ()
        return {parsl_internals.job_of(self._executor, block) for block in connected}

    def _is_computing(self, live: list[str]) -> bool:
        """Whether workers are connected; those of Work Queue, which cannot be asked, give up by themselves."""
        connected = parsl_internals.connected_blocks(self._executor)
        return bool(connected) if connected is not None else any(block in self._running for block in live)

    def _end_silent(self, live: list[str]) -> None:
        """End blocks of which no worker has connected in time; raises NoResources where nothing else can come."""
        patience = float(duration.parse(self._resolved.run.first_worker))
        silent = [block for block in live if self._running.get(block, 0.0) >= patience]
        if not silent or (connected := parsl_internals.connected_blocks(self._executor)) is None:
            return
        for block in connected:
            self._running.pop(block, None)
        silent = [block for block in silent if block not in connected]
        addresses = ", ".join(parsl_internals.addresses(self._executor)) or "no address"
        words = f"no worker connected within {duration.human(patience)} to {addresses}"
        if silent and not self._useful and not set(live) - set(silent):
            last = output.last_words(self._logs, self._resolved.label, silent[0])
            hint = (
                f"[executors.{self._resolved.label}] address sets the address at which workers reach this host; "
                f"{self._see_logs()}"
            )
            raise no_resources(self._folder, f"a block runs, but {words}{because(last)}", hint)
        for block in silent:
            self._end_block(block, words)

    def _end_block(self, block: str, words: str) -> None:
        """End a block that is of no use, for its nodes' fault."""
        self._ended.add(block)
        self._running.pop(block, None)
        parsl_internals.cancel_blocks(self._executor, [block])
        self._died(block, words, blame=True)

    def condemn(self, block: str, words: str) -> bool:
        """End a block on which no task can run, if that is its node's fault: others compute, and it never has."""
        if block in self._condemned:
            return True
        others = (parsl_internals.connected_blocks(self._executor) or set()) - {block} - self._condemned
        if not block or block in self._useful or not others or (self._condemned and not self._useful):
            return False
        self._condemned.add(block)
        self._end_block(block, words)
        return True

    def nodes(self) -> dict[str, set[str]]:
        """The blocks of each node that has workers, as far as is known; by host names without their domain."""
        nodes: dict[str, set[str]] = {}
        for block in parsl_internals.connected_blocks(self._executor) or ():
            for name in self._nodes.of(block, parsl_internals.job_of(self._executor, block)):
                nodes.setdefault(short(name), set()).add(block)
        return nodes

    def leave_out(self, place: str, words: str) -> None:
        """Note a node, or a GPU of one, that gets no more tasks, and why; end the blocks that have no other node."""
        nodes = self.nodes()
        jobs = {block: parsl_internals.job_of(self._executor, block) for block in nodes.get(place, ())}
        self._nodes.exclude(place, jobs, words, self._record.in_state(BlockState.PENDING))
        alone = jobs.keys() - {block for name, there in nodes.items() if name != place for block in there}
        if self._is_queued:
            self._ended.update(alone)
            parsl_internals.cancel_blocks(self._executor, sorted(alone))
        self._record.write()

    def _ask_again(self) -> None:
        """Ask for refused blocks again where Parsl does it for the first ones only."""
        if self._resolved.run.strategy == "none" and self._is_patient and self._refused_blocks:
            if not self._admission.after_refusals.lasts():
                number, self._refused_blocks = self._refused_blocks, 0
                parsl_internals.ask_for_blocks(self._executor, number)
        elif not self._is_patient:
            parsl_internals.allow_blocks(self._executor, self._admission.limit(self._most_blocks))

    def _tell_refusal(self) -> bool:
        """Say once of each refusal that it is not the end; returns whether something has changed."""
        refusal, before = self._admission.refusal, self._record.refusal
        if refusal and refusal not in self._told and refusals.kind(refusal) is not refusals.Kind.LASTING:
            self._told.add(refusal)
            note(f"a job was refused and will be submitted again after a pause: {refusal}")
        self._record.refusal = refusal
        return refusal != before

    def describe_loss(self, pool: str, host: str) -> str:
        """What a task was lost with: the job of a worker pool of HTEX, and its host."""
        block = parsl_internals.block_of_pool(self._logs / self._resolved.label, pool)
        return f"lost with job {parsl_internals.job_of(self._executor, block) or '?'} on host {host}"

    def _see_logs(self) -> str:
        return f"logs: {self._logs}"

    def end(self) -> None:
        """Cancel every block that lives, and let no other begin."""
        statuses = parsl_internals.statuses(self._executor)
        if statuses is None:
            return
        self._admission.is_closed = True
        if not self._is_patient:
            parsl_internals.allow_blocks(self._executor, 0)
            live = [block for block, status in statuses.items() if not status.terminal]
            parsl_internals.cancel_blocks(self._executor, live)
        else:
            self._record.cancel()
        if self._is_queued:
            for job in self._jobs:
                if began := parsl_internals.log_begun(self._executor, job):
                    self._cost.runs(job, None, began)  # it may have begun since the queue was asked last
            self._cost.end()

    def forget(self) -> None:
        """Every block has been ended in order."""
        self._record.close()
