"""Is a site what it says? Everything that can be known without a job, and what a tiny job sees."""

from __future__ import annotations

import shlex
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from psiflow_cli import duration, registry
from psiflow_cli.console import detail, note
from psiflow_cli.errors import NoResources, PsiflowError
from psiflow_cli.protocols import FindsProblems, TriesSubmission
from psiflow_cli.runtime import block_record, parsl_internals
from psiflow_cli.runtime.executors import _addresses
from psiflow_cli.runtime.script import of_block
from psiflow_cli.runtime.session import Session
from psiflow_cli.runtime.task import Task
from psiflow_cli.site import resolve, schema, unused
from psiflow_cli.site.detect import Machine
from psiflow_cli.site.environments import NotInstalled
from psiflow_cli.site.executor import ResolvedExecutor
from psiflow_cli.stages.sample.plumed import trial as plumed_trial
from psiflow_cli.stages.setup import interpreter
from psiflow_cli.worker.pool import temporary_folders

_SAY_EVERY_S = 30.0


@dataclass(frozen=True)
class Finding:
    executor: str  # empty: about another table
    problem: str = ""  # a sentence; empty if all is well
    note: str = ""  # a sentence about what does no harm, such as a key without effect


@dataclass
class _Trial:
    """An executor with one of the Pythons that its workers may be started with."""

    executor: ResolvedExecutor
    families: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """The modules that each family needs there."""
    moves_walkers: bool = False


def without_job(site: schema.Site, machine: Machine) -> Iterator[Finding]:
    """What can be known of each executor from here.

    Raises NoResources, after all findings, where a batch system does not answer.
    """
    trials, findings = _trials(site, machine)
    interpreters = interpreter.Interpreters()
    unanswered: NoResources | None = None
    for label in site.executors:
        problems = [finding.problem for finding in findings if finding.executor == label and finding.problem]
        for number, trial in enumerate(trial for trial in trials if trial.executor.label == label):
            problems += interpreter.problems(interpreters, trial.executor, trial.families)
            if number == 0:
                for ask in (_parameters, _programs, _network):
                    problems += ask(trial.executor)
                try:
                    problems += _queue(trial.executor)
                except NoResources as error:
                    unanswered = error
                    findings.append(Finding(label, note=f"not checked by its batch system: {error.message}"))
        yield from _about(label, problems, site, trials, findings)
    yield from (Finding("", note=sentence) for sentence in unused.tables(site))
    if unanswered:
        raise unanswered


def with_job(site: schema.Site, machine: Machine) -> Iterator[Finding]:
    """What a tiny task in a real block of each executor sees; the blocks are given back at once."""
    trials, findings = _trials(site, machine)
    for label in site.executors:
        problems = [finding.problem for finding in findings if finding.executor == label and finding.problem]
        for trial in (trial for trial in trials if trial.executor.label == label):
            problems += _tried(trial)
        yield from _about(label, problems, site, trials, findings)
    yield from (Finding("", note=sentence) for sentence in unused.tables(site))


def _about(
    label: str, problems: list[str], site: schema.Site, trials: list[_Trial], findings: list[Finding]
) -> Iterator[Finding]:
    """What is to be said of an executor: its problems or, without any, what does no harm."""
    yield from (Finding(label, problem) for problem in dict.fromkeys(problems) or [""])
    if problems:
        return
    yield from (finding for finding in findings if finding.executor == label and finding.note)
    trial = next((trial for trial in trials if trial.executor.label == label), None)
    if trial:
        yield from (Finding(label, note=sentence) for sentence in unused.keys(site, trial.executor))
        if trial.moves_walkers or label == site.use["default"]:
            yield from _plumed(trial.executor)


def _plumed(executor: ResolvedExecutor) -> Iterator[Finding]:
    """Which PLUMED the workers have for `sample --plumed`, or why what they have of it does not work."""
    version, problem = plumed_trial.version_or_problem(executor)
    if version:
        yield Finding(executor.label, note=f"sample --plumed uses {version}")
    elif problem.startswith(plumed_trial.NO_PACKAGE):  # as most have none, that is no news
        detail(f"{executor.label}: sample --plumed cannot run here: {problem}")
    else:
        yield Finding(executor.label, note=f"sample --plumed cannot run here: {problem}")


def _trials(site: schema.Site, machine: Machine) -> tuple[list[_Trial], list[Finding]]:
    """Every executor with each Python that [use] lets it start, and what keeps others from being tried."""
    trials: dict[tuple[str, str], _Trial] = {}
    findings: list[Finding] = []
    bad = set()
    uses = [("", "", label) for label in site.executors]
    for family, named in site.use.items():
        if family != "default":
            operations = {named: ""} if isinstance(named, str) else {label: o for o, label in named.items()}
            uses += [(family, operation, label) for label, operation in operations.items()]
    for family, operation, label in uses:
        if family and label in bad:  # and no family can change that
            continue
        try:
            if family:
                executor = resolve.executor_of(site, family, operation, machine)
            else:
                executor = resolve.of_executor(site, label, machine)
        except NotInstalled as error:
            findings.append(Finding(label, note=f"{family}: {error.message}: {error.hint}"))
            continue
        except PsiflowError as error:
            bad |= set() if family else {label}
            hint = f": {error.hint}" if error.hint and family else ""
            findings.append(Finding(label, f"{family}: {error.message}{hint}" if family else error.message))
            continue
        trial = trials.setdefault((label, executor.python), _Trial(executor))
        if (back_end := registry.family(family)) and back_end.REQUIRES:
            trial.families[family] = back_end.REQUIRES
            trial.moves_walkers |= family in registry.families() and operation in ("", "evaluate")
    # a Python that no family uses does not matter, unless the executor is for what [use] does not name
    used = {label for (label, _), trial in trials.items() if trial.families} - {site.use["default"]}
    return [t for (label, _), t in trials.items() if t.families or label not in used], findings


def _tried(trial: _Trial) -> list[str]:
    """What the probe says, run in a block."""
    executor = trial.executor
    try:
        # in the working directory, since the nodes of a cluster do not see this host's /tmp
        holder = temporary_folders.temporary("psiflow-check", str(Path.cwd()))
        with holder as folder, Session(executor, Path(folder), tick=_patience(executor.label, Path(folder))) as session:
            session.submit(
                Task(
                    "psiflow_cli.worker.process.probe:probe",
                    {
                        "context": executor.context,
                        "families": trial.families,
                        "slots": executor.workers_per_node if executor.gpus else 0,
                    },
                )
            )
            _, outcome = session.next()
    except PsiflowError as error:
        return [error.message]
    if outcome.value is None:
        return [outcome.error or outcome.lost]
    return list(outcome.value["problems"])


def _patience(label: str, folder: Path) -> Callable[[], None]:
    """Says now and then what a check waits for: a queue may take its time."""
    begin = last = time.monotonic()

    def tick() -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _SAY_EVERY_S:
            last = now
            jobs = block_record.read(folder).get("jobs", {})
            states = (filter(None, (f"{job} {b['state'].lower()}", b.get("reason"))) for job, b in jobs.items())
            words = ", ".join(map(": ".join, states)) or "none yet"
            note(f"{label}: no answer after {duration.human(now - begin)}; jobs: {words}")

    return tick


def _parameters(executor: ResolvedExecutor) -> Iterator[str]:
    """What is wrong with how Parsl's classes would be called, as with `[executors.NAME.parsl]` or a launcher."""
    if not isinstance(executor.provider, schema.LaunchedProvider):
        return  # a cloud's would ask for credentials, and may make a network
    provider, runs = registry.load("runtime.providers", executor.provider.type), executor.table.type
    with temporary_folders.temporary("psiflow") as folder:
        try:
            with parsl_internals.known_parsl():
                parsl_provider = provider.build(executor.provider, executor)
                registry.load("runtime.executors", runs).build(executor, parsl_provider, Path(folder))
        except PsiflowError as error:
            yield f"{error.message}: {error.hint}" if error.hint else error.message


def _programs(executor: ResolvedExecutor) -> Iterator[str]:
    """Launchers and executables of this host; those of other nodes, or of modules, only a job can find."""
    context = executor.context
    if executor.provider.type != "local" or context["modules"] or context["source"]:
        return
    path = context["env"].get("PATH")
    for program in filter(None, [*shlex.split(context["launch"])[:1], context["executable"]]):
        if shutil.which(program, path=path) is None:
            yield f"{program!r} was not found"


def _queue(executor: ResolvedExecutor) -> Iterator[str]:
    """What the batch system itself says of partition, account and script, where its provider can ask."""
    module = registry.load("runtime.providers", executor.provider.type)
    problems = module.problems(executor.provider) if isinstance(module, FindsProblems) else []
    yield from problems
    if not problems and isinstance(module, TriesSubmission):
        problem = module.refusal(executor.provider, of_block(executor, "true"))
        yield from [problem] if problem else []


def _network(executor: ResolvedExecutor) -> Iterator[str]:
    """What is wrong with the address and the ports that workers are to be told."""
    for ask in (_addresses.of_this_host, _addresses.free_port):
        try:
            ask(executor)
        except PsiflowError as error:
            yield f"{error.message.partition('] ')[2]}; {error.hint}"
