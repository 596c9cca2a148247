"""What a site file says to no effect: tables that nothing names, and keys that another key, or a kind, overrules."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from psiflow_cli.errors import counted
from psiflow_cli.site import schema
from psiflow_cli.site.executor import ResolvedExecutor

_RANKS = {"-n", "-np", "-c", "--n", "--np", "--ntasks", "-ntasks"}
"""Options of mpirun, mpiexec, aprun and srun for the number of ranks; `-c` is the same to Open MPI, not to srun."""
_THREADS = "OMP_NUM_THREADS"
_LINES: dict[str, tuple[str, dict[str, tuple[str, ...]]]] = {
    "slurm": ("sbatch", {
        "partition": ("-p", "--partition"), "account": ("-A", "--account"), "qos": ("-q", "--qos"),
        "clusters": ("-M", "--clusters", "--cluster"), "constraint": ("-C", "--constraint"),
        "nodes": ("-N", "--nodes"), "walltime": ("-t", "--time"), "memory_per_node": ("--mem", "--mem-per-cpu"),
        "gpus_per_node": ("-G", "--gpus", "--gpus-per-node", "--gpus-per-task"), "gres": ("--gres",),
        "cores_per_node": ("-c", "--cpus-per-task", "-n", "--ntasks", "--ntasks-per-node"),
    }),
    "pbspro": ("directives", {
        "queue": ("-q",), "account": ("-A",), "nodes": ("-l select", "-l nodes"), "walltime": ("-l walltime",),
    }),
    "torque": ("directives", {
        "queue": ("-q",), "account": ("-A",), "nodes": ("-l nodes",), "walltime": ("-l walltime",),
    }),
    "lsf": ("directives", {"queue": ("-q",), "project": ("-P",), "nodes": ("-nnodes",), "walltime": ("-W",)}),
    "grid_engine": ("directives", {"queue": ("-q",), "walltime": ("-l h_rt",)}),
    "condor": ("directives", {
        "project": ("+projectname",), "requirements": ("requirements",), "cores_per_node": ("request_cpus",),
    }),
}  # fmt: skip
"""By provider: the key with lines of the script, and which options in these have a key of their own."""


def tables(site: schema.Site) -> Iterator[str]:
    """Tables that no other one names, a sentence each."""
    uses = [use for use in site.use.values() if isinstance(use, str)]
    uses += [label for use in site.use.values() if isinstance(use, dict) for label in use.values()]
    used = set(uses)
    used |= {site.executors[label].on_oom for label in uses}
    for label in sorted(site.executors.keys() - used):
        yield f"[executors.{label}]: not used by any line of [use]"
    named = site.executors.values()
    for kind, entries, by in (
        ("providers", site.providers, {executor.provider for executor in named}),
        ("resources", site.resources, {executor.resources for executor in named}),
        ("environments", site.environments, {executor.environment for executor in named}),
    ):
        for name in sorted(entries.keys() - by):
            yield f"[{kind}.{name}]: not used by any executor"


def keys(site: schema.Site, resolved: ResolvedExecutor) -> Iterator[str]:
    """Keys of an executor's tables that have no effect, or another one than they seem to, a sentence each."""
    yield from _of_resources(site, resolved)
    yield from _of_executor(site, resolved)
    yield from _of_provider(site, resolved)
    environment, name = resolved.environment, resolved.table.environment
    if not environment.container:
        for key in ("gpu_flag", "binds", "container_options"):
            if getattr(environment, key):
                yield f"[environments.{name}] {key}: has no effect without a container"


def _of_resources(site: schema.Site, resolved: ResolvedExecutor) -> Iterator[str]:
    table, context = site.resources[resolved.table.resources], resolved.context
    place = f"[resources.{resolved.table.resources}]"
    least = table.ranks * (table.threads or 1)
    if table.cores != "all" and 1 < table.cores < least:
        yield f"{place} cores: {table.cores} is less than ranks times threads, so a task gets {least}"
    if _THREADS in table.env and table.env[_THREADS] != str(context["threads"]):
        yield f"{place} env: {_THREADS} = {table.env[_THREADS]} overrides threads, which is {context['threads']}"
    for name in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"):
        if name in table.env and context["gpus"]:
            yield f"{place} env: {name} overrides the GPUs that the scheduler gave to a block"
    ranks = _ranks_in(table.launch)
    if ranks is not None and ranks != table.ranks:
        yield f"{place} launch: starts {counted(ranks, 'rank')}, but ranks is {table.ranks}: write {{ranks}} instead"
    elif ranks is None and table.ranks > 1 and table.launch and "{ranks}" not in table.launch:
        yield f"{place} launch: does not contain {{ranks}}, so ranks = {table.ranks} may have no effect"
    if table.min_runtime and resolved.provider.block_walltime is None:
        yield f"{place} min_runtime: has no effect with a provider without a walltime"


def _ranks_in(launch: str) -> int | None:
    """The number of ranks that a launch template has in itself; None where it has none, or {ranks}."""
    words = shlex.split(launch)
    options = _RANKS - {"-c"} if words and words[0].endswith("srun") else _RANKS
    for word, after in zip(words, [*words, ""][1:], strict=True):
        option, equals, value = word.partition("=")
        if option in options and (number := value if equals else after).isdigit():
            return int(number)
        if attached := re.fullmatch(r"-n(\d+)", word):
            return int(attached[1])
    return None


def _of_executor(site: schema.Site, resolved: ResolvedExecutor) -> Iterator[str]:
    executor, place = resolved.table, f"[executors.{resolved.label}]"
    if executor.tasks_per_node and executor.tasks_per_node > resolved.workers_per_node:
        yield (
            f"{place} tasks_per_node: {executor.tasks_per_node}, but cores, memory and GPUs of a node are enough for "
            f"{resolved.workers_per_node}"
        )
    if executor.tasks_per_gpu > 1 and not resolved.gpus:
        yield f"{place} tasks_per_gpu: has no effect, since its tasks use no GPU"
    if executor.on_oom == resolved.label:
        yield f"{place} on_oom: names the executor itself"
    if executor.type != "threads":
        return
    if executor.environment:
        yield f"{place} environment: has no effect, since threads run in psiflow's own process"
    if resolved.provider.type != "local":
        yield f"{place} provider: {resolved.provider.type} starts nothing, since threads run in psiflow's own process"


def _of_provider(site: schema.Site, resolved: ResolvedExecutor) -> Iterator[str]:
    provider, name = resolved.provider, resolved.table.provider
    place = f"[providers.{name}]"
    most = getattr(provider, "max_blocks", None)
    for key in ("init_blocks", "min_blocks"):
        if most is not None and getattr(provider, key, 0) > most:
            yield f"{place} {key}: {getattr(provider, key)} is more than max_blocks, {most}"
    if getattr(provider, "gpus_per_node", 0) and not _uses_gpus(site, name):
        yield f"{place} gpus_per_node: blocks have GPUs, but no task of its executors uses one"
    lines, own = _LINES.get(provider.type, ("", {}))
    for line in getattr(provider, lines, ()):
        text = " ".join(line.split()).lower() if provider.type == "condor" else " ".join(line.split())
        for key, options in own.items():
            for option in options:
                if getattr(provider, key) and re.match(rf"{re.escape(option)}(?![\w-])", text):
                    yield f"{place} {lines}: {option} repeats {key}: remove one of them"


def _uses_gpus(site: schema.Site, provider: str) -> bool:
    tables = (site.resources[e.resources] for e in site.executors.values() if e.provider == provider)
    return any(table.gpus or (table.gpus is None and table.device != "cpu") for table in tables)
