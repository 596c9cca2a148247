"""What psiflow changes of Parsl's classes for batch systems, all in one way; see `runtime/parsl_internals.py`.

Parsl takes a job that an answer does not list for one that has ended, forgets the words of refused submissions, and
submits again at once.
"""

from __future__ import annotations

import contextlib
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol, cast

from psiflow_cli.runtime.block_faults import output, refusals
from psiflow_cli.runtime.block_faults.admission import Admission
from psiflow_cli.runtime.block_faults.refusals import Answer
from psiflow_cli.runtime.block_record import GONE, SILENCE
from psiflow_cli.runtime.parsl_internals import require

if TYPE_CHECKING:
    from parsl.jobs.states import JobStatus
    from parsl.providers.base import ExecutionProvider

_ABSENT = 2
"""A job has ended when so many answers in a row, from a queue that answers, do not list it."""


class Submissions(Protocol):
    """Keeps a record of jobs, by name until their ids are known."""

    def submitting(self, name: str) -> None:
        """A job of this name may exist from now on."""

    def submitted(self, job: str, name: str) -> None:
        """The job of this name has this id."""

    def refused(self, name: str) -> None:
        """There is no job of this name."""


class Refused(Exception):
    """A submission that the batch system has refused, in its own words."""


def be_patient(
    provider: ExecutionProvider | None,
    admission: Admission,
    record: Submissions,
    at_work: Callable[[], set[str]],
) -> bool:
    """Let a provider of a batch system take silence for no answer, and refusals for what may pass; False for others.

    `record` is told of every job before and after its submission; `at_work` tells the jobs whose workers are connected,
    which have not ended whatever the queue forgets. All are called in Parsl's own thread.
    """
    from parsl.providers.cluster_provider import ClusterProvider

    if not isinstance(provider, ClusterProvider):
        return False
    require(ClusterProvider, "execute_wait", "_status")
    require(provider, "resources", "scheduler_options", "max_blocks")

    class Heard(ClusterProvider):
        """Behind Parsl's classes, some of which call `execute_wait` past the instance."""

        def execute_wait(self, cmd: str, timeout: float | None = None) -> tuple[int, str, str]:
            answers = self.__dict__.get("answers", [])
            self.__dict__.get("announce", str)(cmd)
            try:
                code, out, err = super().execute_wait(cmd, timeout)  # type: ignore[no-untyped-call, unused-ignore]
            except Exception as error:
                answers.append(Answer(-1, "", f"{cmd.split()[0]}: {' '.join(str(error).split())}", cmd))
                raise
            answers.append(Answer(code, out, err, cmd))
            return code, out, err

    kind = type(provider)
    provider.__class__ = type(kind.__name__, (_Patient, kind, Heard), {})
    patient = cast("_Patient", provider)
    patient.admission, patient.record, patient.at_work = admission, record, at_work
    patient.absences, patient.ends = {}, {}
    patient.directives, patient.lock = "", threading.RLock()
    patient.worker_init = output.ANNOUNCE + patient.worker_init
    return True


def add_to_scripts(provider: ExecutionProvider | None, lines: str) -> None:
    """Put further lines of the batch system's own into the scripts of the blocks to come, in place of earlier ones."""
    cast("_Patient", provider).directives = lines


def end_of(provider: ExecutionProvider | None, job: str) -> str:
    """How a job has ended in the words of its batch system, which HTEX replaces; "" where it is not known."""
    ends: dict[str, str] = getattr(provider, "ends", {})
    return ends.get(job, "")


class _Patient:
    """Comes before one of Parsl's classes for batch systems."""

    admission: Admission
    record: Submissions
    absences: dict[str, int]  # how many answers in a row have not listed a job
    ends: dict[str, str]  # how jobs have ended
    directives: str  # further lines of the next scripts
    lock: threading.RLock  # a submission must not meet a look at the queue
    answers: list[Answer]  # while something listens
    announce: Callable[[str], None]  # while a job is submitted: told each command before it runs
    live: dict[str, dict[str, Any]] | None = None
    looking: int = 0  # the thread that looks at the queue
    at_work: Callable[[], set[str]]
    scheduler_options: str
    worker_init: str

    @property
    def resources(self) -> dict[str, dict[str, Any]]:
        """The jobs; to the thread that looks at the queue, those that have not ended, for it asks for all it sees."""
        is_looking = self.live is not None and threading.get_ident() == self.looking
        return self.live if is_looking and self.live is not None else cast("Any", self.__dict__["resources"])

    @resources.setter
    def resources(self, jobs: dict[str, dict[str, Any]]) -> None:
        self.__dict__["resources"] = jobs

    @property
    def max_blocks(self) -> int:
        """How many blocks Parsl may have; held ones do not count."""
        held = sum(facts["status"].state.name == "HELD" for facts in self.resources.values())
        return self.admission.limit(int(self.__dict__["max_blocks"]) - held)

    @max_blocks.setter
    def max_blocks(self, blocks: int) -> None:
        self.__dict__["max_blocks"] = blocks

    @contextlib.contextmanager
    def _listening(self) -> Iterator[list[Answer]]:
        self.answers = []
        try:
            yield self.answers
        finally:
            del self.answers

    def submit(self, command: str, tasks_per_node: int, job_name: str = "psiflow") -> str:
        """As Parsl's; raises Refused, also at once while a pause after a refusal lasts."""
        if self.admission.is_closed or self.admission.after_refusals.lasts():
            raise Refused(self.admission.refusal)
        own, job, problem, names = self.scheduler_options, None, "", list[str]()

        def announce(command: str) -> None:
            if not names:  # the program that submits comes first, and its last word is the script
                names.append(command.split("/")[-1])
                self.record.submitting(names[0])

        with self.lock, self._listening() as answers:
            self.scheduler_options = own + self.directives
            self.announce = announce
            try:
                job = super().submit(command, tasks_per_node, job_name)  # type: ignore[misc]
            except Exception as error:
                problem = str(error)
            finally:
                self.scheduler_options = own
                del self.announce
        if not job:
            words = refusals.words(answers, problem)
            if names and not refusals.may_have_arrived(words):
                self.record.refused(names[0])
            self.admission.refused(words)
            raise Refused(words)
        self.admission.accepted()
        self.record.submitted(str(job), names[0])
        return str(job)

    def _status(self) -> None:
        """Parsl's, less what it concludes from silence; jobs that have ended stay what they were."""
        with self.lock:
            self._look()

    def _look(self) -> None:
        live = {job: facts for job, facts in self.resources.items() if not facts["status"].terminal}
        if not live:
            return
        before = {job: facts["status"] for job, facts in live.items()}
        self.live, self.looking = live, threading.get_ident()
        try:
            with self._listening() as answers, contextlib.suppress(Exception):  # an answer that Parsl cannot read
                super()._status()  # type: ignore[misc]
        finally:
            self.live = None
        for job, status in before.items():
            if answers and not self._is_listed(job, answers):
                live[job]["status"] = self._unlisted(job, status, answers)
            elif live[job]["status"].state.name == "UNKNOWN":
                live[job]["status"] = status
            if live[job]["status"].message == SILENCE and job in self.at_work():
                live[job]["status"] = status
            if live[job]["status"].terminal:
                is_sure = live[job]["status"].message != SILENCE
                self.ends[job] = live[job]["status"].state.name if is_sure else "UNKNOWN"
                self.admission.unjudged.add(job)

    def _is_listed(self, job: str, answers: list[Answer]) -> bool:
        number = re.escape(job.partition(".")[0])
        listed = any(re.search(rf'(?m)(^\s*|"){number}(?!\d)', answer.out) for answer in answers)
        if listed:
            self.absences.pop(job, None)
        return listed

    def _unlisted(self, job: str, status: JobStatus, answers: list[Answer]) -> JobStatus:
        """What a job is that no answer lists: what it was, until the queue has said often enough that it is gone."""
        from parsl.jobs.states import JobState, JobStatus

        complaint = "\n".join(answer.err for answer in answers if answer.exit_code)
        if any(answer.exit_code for answer in answers) and not re.search(GONE, complaint):
            return status
        self.absences[job] = self.absences.get(job, 0) + 1
        if self.absences[job] < _ABSENT:
            return status
        facts = self.resources[job]
        paths = {key: facts.get(f"job_{key}") for key in ("stdout_path", "stderr_path")}
        return JobStatus(JobState.COMPLETED, SILENCE, **paths)


def retranslate(provider: ExecutionProvider | None, states: Mapping[str, str]) -> None:
    """Correct what Parsl's class makes of its batch system's words for the state of a job."""
    from parsl.jobs.states import JobState

    for kind in type(provider).__mro__:
        if table := getattr(sys.modules[kind.__module__], "translate_table", None):
            table.update({word: JobState[state] for word, state in states.items()})
            return
