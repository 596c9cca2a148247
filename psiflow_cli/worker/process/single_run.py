"""One run of a program for one frame: a folder of its own, its files, its limits, its log kept, how it ended."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from psiflow_cli.errors import BAD_DATA
from psiflow_cli.worker.failures import Fatal, failure, is_out_of_memory
from psiflow_cli.worker.process import environment_modules, launcher, scratch, subprocesses
from psiflow_cli.worker.process.task_logs import TaskLog

if TYPE_CHECKING:
    from psiflow_cli.messages import Context, FailureClass, Frame, LabelResult

LOG = "psiflow.log"


@dataclass(frozen=True)
class Executable:
    """A code, as messages call it, and the name of its program."""

    name: str
    executable: str


@dataclass(frozen=True)
class Program(Executable):
    """A code, and where its faults show in what it prints."""

    started: re.Pattern[str]
    """In the log of every run that began: without it, a launcher's complaint counts."""
    bad_input: re.Pattern[str]
    """A complaint about the method that no other frame would fix; the match is the message."""
    bad_frame: re.Pattern[str]
    """A complaint about the frame; the match is the message."""
    unconverged: re.Pattern[str]
    """An SCF that did not converge."""
    ended: re.Pattern[str] = field(default_factory=lambda: re.compile(""))
    """In the log of every run that ended well, for a code whose exit code does not tell."""
    last_words: re.Pattern[str] = field(default_factory=lambda: re.compile(r"(?i)^.*\berror\b.*$", re.M))
    """What it says when it crashes."""


@dataclass(frozen=True)
class Ran:
    """A run that came to its end."""

    outcome: subprocesses.Outcome
    log: str
    """Its output and its errors."""
    files: Mapping[str, str]
    """Those of the wanted files that it left."""


def run(
    program: Executable,
    arguments: Sequence[str],
    files: Mapping[str, str | bytes],
    context: Context,
    outputs: Sequence[str] = (),
    log: str = LOG,
) -> Ran:
    """Run the program in a folder of its own that holds `files`. Raises Fatal if it cannot be started."""
    with scratch.folder(context, program.name.lower().replace(" ", "-").replace("+", "p")) as folder:
        for name, contents in files.items():
            (folder / name).write_bytes(contents.encode() if isinstance(contents, str) else contents)
        outcome, printed = run_in(folder, program, arguments, context, log)
        written = {name: (folder / name).read_text(errors="replace") for name in outputs if (folder / name).is_file()}
    if outcome.returncode:
        environment_modules.check(outcome.returncode, printed)
    return Ran(outcome, printed, written)


def run_in(
    folder: Path, program: Executable, arguments: Sequence[str], context: Context, log: str = LOG
) -> tuple[subprocesses.Outcome, str]:
    """How the program with these arguments ended in `folder`, and what it printed. Raises Fatal."""
    argv = launcher.command(context, program.executable, *arguments)
    try:
        outcome = subprocesses.run(
            argv,
            folder / log,
            cwd=folder,
            env=launcher.environment(context),
            seconds=context.get("walltime"),
            memory=context.get("memory"),
            cpus=context.get("cpus"),
        )
    except OSError as error:
        key = "launch" if context.get("launch") else "executable"
        raise launcher.missing(argv[0], key, str(error.strerror)) from None
    return outcome, (folder / log).read_text(errors="replace")


def label(
    program: Program,
    ran: Ran,
    frame: Frame,
    text: str,
    context: Context,
    read: Callable[[Frame, Ran], LabelResult],
) -> LabelResult:
    """The label or failure that `read` makes of a run, unless it failed by what the program says; its log is kept.

    `text` is the frame's input. Raises Fatal for what would fail every frame.
    """
    problem, log = failed(program, ran), TaskLog.of_frame(frame, text, context)
    if problem is None:
        return logged(read(frame, ran), ran.log, log)
    path = log.write(ran.log, failed=True)
    begun = program.started.search(ran.log)
    unstarted = "" if begun else launcher.never_started(ran.outcome.returncode, ran.log)
    if unstarted and not (ran.outcome.timed_out or ran.outcome.out_of_memory):
        raise launcher.missing(program.executable, "executable", f"{unstarted} (see {path})")
    kind, message = problem
    if kind == "bad-input":
        hint = f"fix the file given with --input; its log: {path}"
        raise Fatal(f"{program.name} rejects the input: {message}", hint, exit_code=BAD_DATA)
    return failure(kind, message, path)


def logged(result: LabelResult, printed: str, log: TaskLog) -> LabelResult:
    """The result, once what was printed is kept; a failure says where."""
    path = log.write(printed, failed="failure" in result)
    return {**result, "log": path} if "failure" in result else result


def failed(program: Program, ran: Ran) -> tuple[FailureClass | Literal["bad-input"], str] | None:
    """The class (or `bad-input`) and the message of a failure, or None for a run that ended well."""
    outcome, log = ran.outcome, ran.log
    if outcome.timed_out or outcome.out_of_memory:
        return over_limit(program, outcome)
    if program.unconverged.search(log):
        return "unconverged", "the SCF did not converge"
    if outcome.returncode == 0 and program.ended.search(log):
        return None
    if complaint := first(program.bad_frame, log):
        return "invalid-input", complaint
    if complaint := first(program.bad_input, log):
        return "bad-input", complaint
    if outcome.returncode in (-9, 137) or is_out_of_memory(log):
        return "out-of-memory", "killed, probably because memory ran out"
    ending = f"ended by signal {-outcome.returncode}" if outcome.returncode < 0 else f"exit code {outcome.returncode}"
    return "crashed", f"{first(program.last_words, log) or f'{program.name} ended early'} ({ending})"


def over_limit(program: Executable, outcome: subprocesses.Outcome) -> tuple[FailureClass, str]:
    """The class and the message of a run that was ended for its time or its memory."""
    if outcome.timed_out:
        return "timeout", f"{program.name} was still running after {outcome.seconds:.3g} s"
    return "out-of-memory", f"{program.name} exceeded the memory of its task"


def first(pattern: re.Pattern[str], log: str) -> str:
    """The first match (its groups, if it has any) on one line, or ""."""
    match = pattern.search(log)
    parts = (match.groups(default="") if pattern.groups else [match[0]]) if match else []
    return ": ".join(" ".join(part.split()) for part in parts if part)


def version(
    program: Executable, arguments: Sequence[str], files: Mapping[str, str], context: Context, pattern: re.Pattern[str]
) -> str:
    """The program's name and version as it prints it, from one process. Raises Fatal if it does not."""
    ran = run(program, arguments, files, {**context, "launch": "", "ranks": 1, "memory": None})
    number = first(pattern, ran.log)
    if not number:
        executable = context.get("executable") or program.executable
        raise launcher.missing(executable, "executable", ran.log.strip()[-200:])
    return f"{program.name} {number}"
