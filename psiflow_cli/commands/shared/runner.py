"""How a command runs its stage: open the workspace, stop early if it is up to date, say what happened."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, cast

import click

from psiflow_cli import options, registry
from psiflow_cli.console import columns, detail, echo_json, in_width, note, problem, remark
from psiflow_cli.errors import STOPPED, BadConfig, NoResources, UsageError, counted

if TYPE_CHECKING:  # the stages are imported when one runs: `--help` must not wait for them
    from typing_extensions import TypeVar

    from psiflow_cli.messages import StageSummary, Summary
    from psiflow_cli.site.executor import ResolvedExecutor
    from psiflow_cli.stages.core.workspace import Job, Workspace

    W = TypeVar("W", bound=Workspace, default=Workspace)
    S = TypeVar("S", bound=Mapping[str, object])


def on_site(
    job: Job, common: options.Common, family: str | None = None, operation: str = "evaluate", tasks: int = 1,
    head: str | None = None,
) -> Job:  # fmt: skip
    """The job with the common options, and its site resolved: which executor, with which resources, on this machine.

    `family` None means that the stage needs no worker; so many `tasks` share the cores where the site gives one all;
    `head` is that of the model that its tasks use.
    """
    from dataclasses import replace

    if common.json and job.output == "-":
        raise UsageError("--json and frames cannot both go to stdout", "write the frames to a file with --output")
    if job.frames.count("-") > 1:
        raise UsageError("stdin can be read only once", "give `-` once")
    executor = _executor(common.site, family, operation, tasks) if family else None
    if executor and head is not None:
        executor = replace(executor, context={**executor.context, "head": head})
    site = _resolved(executor) if executor else {}
    return replace(
        job,
        executor=executor,
        requires=job.requires or _requirements(family),
        run_dir=common.run_dir or job.run_dir,
        overwrite=common.overwrite,
        deadline=common.deadline,
        site={"name": common.site, **site},
    )


def _requirements(family: str | None) -> dict[str, str]:
    """What a model family or a reference imports on its workers."""
    back_end = registry.family(family) if family else None
    return dict.fromkeys(back_end.REQUIRES, f"{family}") if back_end else {}


def _resolved(executor: ResolvedExecutor) -> dict[str, object]:
    """A site as it was resolved, for run.json."""
    import msgspec

    tables = {name: msgspec.to_builtins(getattr(executor, name)) for name in ("provider", "environment", "run")}
    named = {"executor": executor.label, "workers": executor.workers, "python": executor.python}
    table = msgspec.to_builtins(executor.table)
    return {**named, "resources": executor.context, "executor_table": table, **tables}


def _executor(name: str, family: str, operation: str, tasks: int) -> ResolvedExecutor:
    from psiflow_cli.site import detect, load, resolve

    path = load.find(name)
    site = load.parse(path)
    if site.remote:  # what runs here has this machine
        path = load.find("local")
        site = load.parse(path)
    try:
        return resolve.executor_of(site, family, operation, detect.machine(), tasks)
    except BadConfig as error:
        raise BadConfig(f"{path}: {error.message}", error.hint) from None


class Plan(dict[str, object]):
    """What would be done, with the value `of` one key as the `text` of a file that may be kept."""

    def __init__(self, values: Mapping[str, object], text: str, of: str) -> None:
        super().__init__(values)
        self.text, self.of = text, of


def perform(
    job: Job,
    common: options.Common,
    run: Callable[[W], S],
    as_text: Callable[[S], str],
    plan: Callable[[W], Mapping[str, object]],
    verdict: Callable[[S], int] = lambda _: 0,
    show: Callable[[S], str] | None = None,
    workspace: type[W] | None = None,
) -> None:
    """Run a stage and exit with its code.

    `run` returns the summary (see `messages.StageSummary`), `plan` says what would be done, and `verdict` is the exit
    code of a stage that came to its end. `show` is the result as a text, "" for none: it goes to stdout, also when the
    run is up to date, or to stderr where frames have stdout. `workspace` is the class of what `run` and `plan` get.
    """
    from psiflow_cli.remote import plan as planned
    from psiflow_cli.runtime.stop.signals import stoppable
    from psiflow_cli.stages.core.workspace import Workspace

    outputs = [output for output in (job.output, *job.other_outputs) if output != "-"]
    planned.write_if_planning(
        {"command": job.command, "run_dir": str(job.folder), "output": job.output, "outputs": outputs}
    )

    with stoppable(), (workspace or cast("type[W]", Workspace))(job) as opened:
        earlier = None if job.force else opened.run.up_to_date()
        if not earlier:  # what may turn out to be computed already needs no workers, but a plan says what would be
            opened.check_environment(tasks=common.dry_run)
        if common.dry_run:
            _tell(common, job, None if earlier else plan(opened))
            if not earlier:
                _warn_of_provider(job)
            return
        _detail_place(job)
        if earlier:
            note(f"{job.output if job.output != '-' else job.folder} is up to date")
            summary = cast("S", earlier["summary"])
        else:
            summary = run(opened)
        unfinished = bool(summary.get("unfinished"))
        code = STOPPED if unfinished else verdict(summary)
        if not earlier:
            opened.run.end(code, cast("Summary", summary), finished=not unfinished, again=bool(summary.get("retry")))
            note(as_text(summary))
        if summary.get("failed"):
            _say_failures(cast("StageSummary", summary), job)
        stdout_is_taken = opened.copy_to_stdout()
        if show and not common.json:
            _show(show(summary), to_stderr=stdout_is_taken)
        _tell_json(common, {"command": job.command, "exit_code": code, "up_to_date": bool(earlier), **summary})
    sys.exit(code)


def _detail_place(job: Job) -> None:
    """With --verbose: what decides the result, where the work is done, and where its logs are."""
    detail(f"settings: {', '.join(f'{name}={_short(value)}' for name, value in _flat(job.settings)) or 'none'}")
    detail(f"process {os.getpid()} on {os.uname().nodename}; run directory: {job.folder}")
    if (executor := job.executor) is None:
        return
    where = f"{executor.table.type} on the provider {executor.table.provider} ({executor.provider.type})"
    context = executor.context
    gpus = f", {counted(len(executor.gpus), 'GPU')} a node" if executor.gpus else ""
    dtype = context["dtype"] or "the model's own precision"
    workers = f"{executor.workers} × {counted(executor.cores, 'core')}{gpus}, {context['device']}, {dtype}"
    detail(f"site {job.site['name']}: executor {executor.label}, {where}: workers {workers}; Python {executor.python}")
    detail(f"logs: {job.folder / 'logs'} (tasks), {job.folder / 'parsl'} (workers)")


def _warn_of_provider(job: Job) -> None:
    """What the batch system would say against the site, as far as it tells without a job."""
    from psiflow_cli import protocols

    if (executor := job.executor) is None:
        return
    module = registry.load("runtime.providers", executor.provider.type)
    if not isinstance(module, protocols.FindsProblems):
        return
    try:
        problems = module.problems(executor.provider)
    except NoResources as error:
        problems = [error.message]
    for each in problems:
        note(f"warning: the executor {executor.label} cannot get jobs: {each}")


def _flat(settings: Mapping[str, object], above: str = "") -> Iterator[tuple[str, object]]:
    """Every setting that has a value, by its name below those of the tables that it is in."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{name}.")
        elif value not in (None, "", (), []):
            yield f"{above}{name}", value


def _short(value: object) -> str:
    text = str(value)
    if lines := text.strip().count("\n"):
        return f"({lines + 1} lines)"
    return text if len(text) < 80 else f"{text[:77]}..."


def _show(result: str, to_stderr: bool) -> None:
    if result and to_stderr:
        remark(in_width(result, columns(sys.stderr)))
    elif result:
        click.echo(in_width(result, columns(sys.stdout)))


def tell_up_to_date(common: options.Common, command: str, what: str) -> None:
    """Say that there is nothing to do, where no run directory is asked."""
    note(f"{what} is up to date")
    _tell_json(common, {"command": command, "exit_code": 0, "up_to_date": True})


def name(output: str) -> str:
    """An output as a person calls it."""
    return "stdout" if output == "-" else output


def _say_failures(summary: StageSummary, job: Job) -> None:
    import shlex

    classes = ", ".join(f"{n} {kind}" for kind, n in sorted(summary["failures"].items()))
    where = f" -> {summary['failed_output']}" if summary.get("failed_output") else ""
    logs = f"psiflow status {shlex.quote(str(job.folder))} --failures lists the reasons and logs"
    hint = "; ".join(filter(None, (summary.get("failed_hint"), logs)))
    problem(f"{summary['failed']} of {summary['total']} failed: {classes}{where}", hint)


def _tell(common: options.Common, job: Job, plan: Mapping[str, object] | None) -> None:
    """What would be done and where; of a plan with a file in it the rest is its comments. None: up to date."""
    report = {"command": job.command, "up_to_date": plan is None, **(plan or {})}
    if common.json:
        echo_json(report)
        return
    if plan is not None and job.executor:
        report.setdefault("executor", f"{job.executor.label} ({job.executor.provider.type})")
    file = plan if isinstance(plan, Plan) else None
    for key, value in report.items():
        if file and key == file.of:
            continue
        for each in value if isinstance(value, list) and file else [value]:
            value_text = "unknown" if each is None else ("no", "yes")[each] if isinstance(each, bool) else each
            words = f"{key.replace('_', ' ')}: {value_text}"
            click.echo("\n".join(f"# {line}" for line in words.splitlines()) if file else words)
    if file:
        click.echo(file.text)


def _tell_json(common: options.Common, summary: Mapping[str, object]) -> None:
    if common.json:
        echo_json(summary)
