"""One run of a program for one frame: a folder of its own, its files, its limits, its log kept, how it ended."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from psiflow_cli.worker.failures import Fatal, failure
from psiflow_cli.worker.process import environment_modules, launcher, scratch, subprocesses
from psiflow_cli.worker.process.task_logs import Kept

Wire = dict[str, Any]
LOG = "psiflow.log"
_OUT_OF_MEMORY = re.compile(
    r"out of memory|oom[-_ ]kill|cannot allocate memory|insufficient virtual memory|std::bad_alloc|MemoryError|"
    r"allocation would exceed memory|exited on signal 9|error allocating|insufficient memory|not enough memory",
    re.I,
)
_NOT_STARTED = re.compile(
    r"unable to find the specified executable|could not access\s+or execute|error while loading shared libraries|"
    r"execve\(\)|execvp error|command not found|not enough slots",
    re.I,
)


@dataclass(frozen=True)
class Program:
    """A code, as messages call it, and where its faults show in what it prints."""

    name: str
    executable: str
    started: re.Pattern[str]
    """In the log of every run that began: without it, a launcher's complaint counts."""
    bad_input: re.Pattern[str]
    """A complaint about the method that no other frame would mend; the match is the message."""
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
    program: Program,
    arguments: Sequence[str],
    files: Mapping[str, str | bytes],
    context: Wire,
    wanted: Sequence[str] = (),
) -> Ran:
    """Run the program in a folder of its own that holds `files`. Raises Fatal if it cannot be started."""
    argv = launcher.command(context, program.executable, *arguments)
    with scratch.folder(context, program.name.lower().replace(" ", "-").replace("+", "p")) as folder:
        for name, contents in files.items():
            (folder / name).write_bytes(contents.encode() if isinstance(contents, str) else contents)
        try:
            outcome = subprocesses.run(
                argv,
                folder / LOG,
                cwd=folder,
                env=launcher.environment(context),
                seconds=context.get("walltime"),
                memory=context.get("memory"),
                cpus=context.get("cpus"),
            )
        except OSError as error:
            key = "launch" if context.get("launch") else "executable"
            raise launcher.missing(argv[0], key, str(error.strerror)) from None
        log = (folder / LOG).read_text(errors="replace")
        left = {name: (folder / name).read_text(errors="replace") for name in wanted if (folder / name).is_file()}
    if outcome.returncode:
        environment_modules.check(outcome.returncode, log)
    return Ran(outcome, log, left)


def label(program: Program, ran: Ran, read: Callable[[Ran], Wire], kept: Kept, executable: str = "") -> Wire:
    """The label or failure that `read` makes of a run, unless it failed by what the program says; its log is kept.

    Raises Fatal for what would fail every frame.
    """
    problem = failed(program, ran)
    if problem is None:
        made = read(ran)
        path = kept.write(ran.log, failed="failure" in made)
        return {**made, "log": path} if "failure" in made else made
    path = kept.write(ran.log, failed=True)
    unstarted = first(_NOT_STARTED, ran.log) if not program.started.search(ran.log) else ""
    if unstarted and not (ran.outcome.timed_out or ran.outcome.out_of_memory):
        raise launcher.missing(executable or program.executable, "executable", f"{unstarted} (see {path})")
    if problem[0] == "bad-input":
        hint = f"mend the file given with --input; the log is {path}"
        raise Fatal(f"{program.name} rejects the input: {problem[1]}", hint, exit_code=65)
    return failure(*problem, path)


def failed(program: Program, ran: Ran) -> tuple[str, str] | None:
    """The class (or `bad-input`) and the message of a failure, or None for a run that ended well."""
    outcome, log = ran.outcome, ran.log
    if outcome.timed_out:
        return "timeout", f"{program.name} was still running after {outcome.seconds:.3g} s"
    if outcome.out_of_memory:
        return "out-of-memory", f"{program.name} went over the memory of its task"
    if program.unconverged.search(log):
        return "unconverged", "the SCF did not converge"
    if outcome.returncode == 0 and program.ended.search(log):
        return None
    for pattern, kind in ((program.bad_frame, "invalid-input"), (program.bad_input, "bad-input")):
        if said := first(pattern, log):
            return kind, said
    if outcome.returncode in (-9, 137) or _OUT_OF_MEMORY.search(log):
        return "out-of-memory", "killed, as the kernel does when memory runs out"
    ending = f"ended by signal {-outcome.returncode}" if outcome.returncode < 0 else f"exit code {outcome.returncode}"
    return "crashed", f"{first(program.last_words, log) or f'{program.name} ended early'} ({ending})"


def first(pattern: re.Pattern[str], log: str) -> str:
    """The first match (its first group, if it has one) on one line, or ""."""
    found = pattern.search(log)
    return " ".join((found[1] if pattern.groups else found[0]).split()) if found else ""


def version(
    program: Program, arguments: Sequence[str], files: Mapping[str, str], context: Wire, pattern: re.Pattern[str]
) -> str:
    """The program's name and version as it prints it, from one process. Raises Fatal if it does not."""
    ran = run(program, arguments, files, {**context, "launch": "", "ranks": 1, "memory": None})
    found = first(pattern, ran.log)
    if not found:
        executable = context.get("executable") or program.executable
        raise launcher.missing(executable, "executable", ran.log.strip()[-200:])
    return f"{program.name} {found}"


def kept(frame: Wire, text: str, context: Wire) -> Kept:
    """Where the frame's input and log are kept."""
    return Kept(Path(context["logs"]), frame["id"], text)
