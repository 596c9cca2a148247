"""How a command runs its stage: open the workspace, stop early if it is up to date, say what happened."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from psiflow_cli import options
from psiflow_cli.console import note, problem
from psiflow_cli.errors import FAILED_FRAMES, STOPPED, BadConfig, UsageError

if TYPE_CHECKING:  # the stages are imported when one runs: `--help` must not wait for them
    from psiflow_cli.site.executor import ResolvedExecutor
    from psiflow_cli.stages.core.workspace import Job, Workspace


def job(
    command: str,
    family: str | None,
    operation: str,
    frames: tuple[str, ...],
    output: str,
    common: options.Common,
    settings: dict[str, Any],
    other_inputs: tuple[str, ...] = (),
    other_outputs: tuple[str, ...] = (),
    run_dir: str | None = None,
    more_settings: dict[str, Any] | None = None,
) -> Job:
    """A job with its site resolved: which executor, with which resources, on this machine.

    `family` None means that the stage needs no worker.
    """
    from psiflow_cli.stages.core.workspace import Job

    if common.json and output == "-":
        raise UsageError("--json and frames on stdout exclude each other", "give an --output")
    if frames.count("-") > 1:
        raise UsageError("stdin can be read once", "name `-` once")
    executor = _executor(common.site, family, operation) if family else None
    site = _resolved(executor) if executor else {}
    return Job(
        command=command,
        frames=frames,
        output=output,
        settings=settings,
        executor=executor,
        other_inputs=other_inputs,
        other_outputs=other_outputs,
        run_dir=common.run_dir or run_dir,
        overwrite=common.overwrite,
        deadline=common.deadline,
        site={"name": common.site, **site},
        more_settings=more_settings or {},
    )


def _resolved(executor: ResolvedExecutor) -> dict[str, Any]:
    """A site as it was resolved, for run.json."""
    import msgspec

    tables = {name: msgspec.to_builtins(getattr(executor, name)) for name in ("provider", "environment", "run")}
    named = {"executor": executor.label, "workers": executor.workers, "python": executor.python}
    table = msgspec.to_builtins(executor.table)
    return {**named, "resources": executor.context, "executor_table": table, **tables}


def _executor(name: str, family: str, operation: str) -> ResolvedExecutor:
    from psiflow_cli.site import detect, load, resolve

    path = load.find(name)
    site = load.parse(path)
    try:
        return resolve.executor_of(site, family, operation, detect.machine())
    except BadConfig as error:
        raise BadConfig(f"{path}: {error.message}", error.hint) from None


def perform(
    job: Job,
    common: options.Common,
    run: Callable[[Workspace], dict[str, Any]],
    say: Callable[[dict[str, Any]], str],
    plan: Callable[[Workspace], dict[str, Any]],
    limit: options.Limit | None = None,
    force: bool = False,
    workspace: type[Workspace] | None = None,
    show: Callable[[dict[str, Any]], None] | None = None,
    verdict: Callable[[dict[str, Any]], int] | None = None,
) -> None:
    """Run a stage and exit with its code.

    `run` returns the summary (`total`, `failed`, `retry`, `unfinished`, …), `plan` says what would be done, `force`
    asks for work although an equal invocation has finished, `workspace` is its class. `show` prints a result that is no
    file, and `verdict` is the exit code of a stage that ran well and found that something else did not.
    """
    from psiflow_cli.runtime.signals import stoppable
    from psiflow_cli.stages.core.workspace import Workspace

    with stoppable(), (workspace or Workspace)(job) as opened:
        earlier = None if force else opened.run.up_to_date()
        if common.dry_run:
            _tell(common, {"command": job.command, "up_to_date": bool(earlier), **({} if earlier else plan(opened))})
            return
        if earlier:
            note(f"{job.output if job.output != '-' else job.folder} is up to date")
            summary = earlier["summary"]
        else:
            summary = run(opened)
        failed = summary.get("failed", 0)
        code = FAILED_FRAMES if limit is not None and failed > limit.of(summary["total"]) else 0
        unfinished = bool(summary.get("unfinished"))
        code = STOPPED if unfinished else code or (verdict(summary) if verdict else 0)
        if not earlier:
            opened.run.end(code, summary, finished=not unfinished, retry=bool(summary.get("retry")))
            note(say(summary))
        if failed:
            _say_failures(summary)
        opened.emit()
        if show and not common.json:
            show(summary)
        _tell_json(common, {"command": job.command, "exit_code": code, "up_to_date": bool(earlier), **summary})
    sys.exit(code)


def tell_up_to_date(common: options.Common, command: str, what: str) -> None:
    """Say that there is nothing to do, where no run directory is asked."""
    note(f"{what} is up to date")
    _tell_json(common, {"command": command, "exit_code": 0, "up_to_date": True})


def name(output: str) -> str:
    """An output as a person calls it."""
    return "stdout" if output == "-" else output


def _say_failures(summary: dict[str, Any]) -> None:
    classes = ", ".join(f"{n} {kind}" for kind, n in sorted(summary["failures"].items()))
    where = f" -> {summary['failed_output']}" if summary.get("failed_output") else ""
    problem(f"{summary['failed']} of {summary['total']} failed: {classes}{where}", summary.get("failed_hint", ""))


def _tell(common: options.Common, plan: dict[str, Any]) -> None:
    if common.json:
        import json

        click.echo(json.dumps(plan))
        return
    for key, value in plan.items():
        click.echo(f"{key.replace('_', ' ')}: {'unknown' if value is None else value}")


def _tell_json(common: options.Common, summary: dict[str, Any]) -> None:
    if common.json:
        import json

        click.echo(json.dumps(summary))
