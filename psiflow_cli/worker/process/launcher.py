"""How a task starts a program: the launch template filled in, and the environment it runs in."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from typing import TYPE_CHECKING

from psiflow_cli.worker.failures import Fatal
from psiflow_cli.worker.process import environment_modules, inherited_variables, job_step

if TYPE_CHECKING:
    from psiflow_cli.messages import Context

MPIRUN = "mpirun -np {ranks}"
_NOT_STARTED = re.compile(
    r"unable to find the specified executable|could not access\s+or execute|error while loading shared libraries|"
    r"cannot open shared object file|symbol lookup error|execve\(\)|execvp error|command not found|"
    r"executable file not found|failed to (?:start|run command|execute)|cannot execute binary file|Exec format error|"
    r"execution of .+ failed|not enough slots|attempt to run as root|(?:ORTE|PRTE) daemon|orte_init failed|"
    r"^srun: fatal: |^srun: error: (?:unable|could not|invalid|requested|memory required|munge|slurm_|task launch|"
    r"fetch_config|_establish)|^\S*(?:env|nice|nohup|numactl|taskset|time|timeout|sh|bash): .*"
    r"no such file or directory",
    re.IGNORECASE | re.MULTILINE,
)
"""What shells, launchers and the dynamic linker say of a program that they cannot start."""


def prefix(context: Context) -> list[str]:
    """The launch template's words, with numbers filled in; mpirun if there is more than one rank, else nothing.

    Raises Fatal for a template that holds anything but {ranks}, {threads} and {cpus}.
    """
    ranks, threads = context.get("ranks") or 1, context.get("threads") or 1
    launch = context.get("launch") or (MPIRUN if ranks > 1 else "")
    cpus = ",".join(str(cpu) for cpu in context.get("cpus") or [])
    try:
        words = [word.format(ranks=ranks, threads=threads, cpus=cpus) for word in shlex.split(launch)]
    except (ValueError, KeyError, IndexError) as error:
        raise Fatal(
            f"launch = {launch!r} cannot be filled in: {error}", "it may contain {ranks}, {threads}, {cpus}"
        ) from None
    return [*words[:1], *job_step.options(words, threads), *words[1:]]


def command(context: Context, executable: str, *arguments: str) -> list[str]:
    """The argv of one run of `executable`, or of the site's: behind its launch template or mpirun. Raises Fatal."""
    executable = context.get("executable") or executable
    before = prefix(context)
    argv = [*before, executable, *arguments]
    if environment_modules.needed(context):
        return environment_modules.wrap(argv, context)  # what is on PATH then, only that shell knows
    path = environment(context).get("PATH")
    for program, key in ((before[0], "launch"),) if before else ((executable, "executable"),):
        if shutil.which(program, path=path) is None:
            raise missing(program, key)
    return argv


def missing(program: str, key: str, detail: str = "") -> Fatal:
    """The end of the run: this program is not there."""
    return Fatal(
        f"{key} {program!r} cannot be started where the reference runs: {detail or 'it was not found'}",
        f"set `{key}` in the site's [resources] for the reference, or the environment that has it",
    )


def never_started(returncode: int, log: str) -> str:
    """The line that says why a program which printed nothing of its own could not be started, or ""."""
    match = _NOT_STARTED.search(log)
    if match:
        return next(line.strip() for line in log[log.rfind("\n", 0, match.start()) + 1 :].splitlines() if line.strip())
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    # the exit codes by which shells and launchers say so
    return (lines or [f"exit code {returncode}"])[-1] if returncode in (126, 127) else ""


def environment(context: Context) -> dict[str, str]:
    """The worker's environment, the site's over it, the number of threads, and what keeps MPI to this task's cores."""
    threads = str(context.get("threads") or 1)
    launch = context.get("launch") or ""
    env = inherited_variables.for_program(launch)
    env.update({**(context.get("env") or {}), **environment_modules.variables(context), "OMP_NUM_THREADS": threads})
    if "bind" not in launch:
        # Open MPI starts binding at core 0 whatever CPUs it was given, and two tasks on a node would share cores;
        # unbound, the ranks stay on the worker's own CPUs. The second name is that of Open MPI 5.
        env.setdefault("OMPI_MCA_hwloc_base_binding_policy", "none")
        env.setdefault("PRTE_MCA_hwloc_default_binding_policy", "none")
    if os.geteuid() == 0:  # Open MPI refuses to start as root otherwise
        env.setdefault("OMPI_ALLOW_RUN_AS_ROOT", "1")
        env.setdefault("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
    return env
