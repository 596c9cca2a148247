"""From a site's words to one executor's numbers: `all` and `auto` replaced by what the machine has."""

from __future__ import annotations

import math
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from psiflow_cli import duration, registry
from psiflow_cli.errors import BadConfig
from psiflow_cli.site import environments, schema
from psiflow_cli.site.detect import Machine, megabytes
from psiflow_cli.site.executor import ResolvedExecutor

if TYPE_CHECKING:
    from psiflow_cli.messages import Context


_SHARE_MB = 4096
"""The memory that a task among others has at least where a site does not say; a small training takes 1 GB."""
_BLOCK_MARGIN_S = 300.0
"""What a block takes to start its workers and to end them in order, or a tenth of its time if that is less."""


def executor_of(site: schema.Site, family: str, operation: str, machine: Machine, tasks: int = 1) -> ResolvedExecutor:
    """The executor of an operation of a model family or a reference code; for `tasks`, see `of_executor`."""
    if operation == "label" and family in registry.names("references"):
        site = _without_auto(site)
    resolved = _for_family(of_executor(site, site.executor_for(family, operation), machine, tasks), family)
    if not resolved.table.on_oom:
        return resolved
    return replace(resolved, on_oom=_for_family(of_executor(site, resolved.table.on_oom, machine), family))


def _without_auto(site: schema.Site) -> schema.Site:
    """The site for psiflow's reference codes: none runs on a GPU, and GPUs are fewer than cores."""
    tables = {
        name: msgspec.structs.replace(table, device="cpu") if table.device == "auto" and table.gpus is None else table
        for name, table in site.resources.items()
    }
    return msgspec.structs.replace(site, resources=tables)


def _for_family(resolved: ResolvedExecutor, family: str) -> ResolvedExecutor:
    """With the Python that has what the family needs, where the site names none; see `_one_model_at_a_time`."""
    resolved = _one_model_at_a_time(resolved, family)
    if resolved.environment.prefix or resolved.environment.container:
        return resolved
    return replace(resolved, python=environments.python_for(family, resolved.table.type))


def _one_model_at_a_time(resolved: ResolvedExecutor, family: str) -> ResolvedExecutor:
    """PyTorch's default dtype, its number of threads and what torch.fx patches are those of the whole process."""
    if resolved.table.type != "threads" or family in registry.names("references"):
        return resolved
    return replace(resolved, workers_per_node=1)


def of_executor(site: schema.Site, label: str, machine: Machine, tasks: int = 1) -> ResolvedExecutor:
    """An executor on a machine; `tasks` are how many may run at once and share the cores where one has `all`."""
    executor = site.executors[label]
    provider = site.providers[executor.provider]
    try:
        node = provider.share(machine)
    except BadConfig as error:
        raise BadConfig(f"[providers.{executor.provider}] {error.message}", error.hint) from None
    environment = site.environments.get(executor.environment, schema.Environment())
    context = _context(site, executor, environment, node)
    _check(site, executor, context, node)
    shared = site.resources[executor.resources].cores == "all"
    blocks = node.nodes * getattr(provider, "max_blocks", 1)
    gpus, memory = context["gpus"], context["memory"]
    least = context["ranks"] * (site.resources[executor.resources].threads or 1)
    fits = [min(node.cores // least, math.ceil(tasks / blocks)) if shared else node.cores // context["cores"]]
    if gpus:
        fits.append(len(node.gpus) // gpus * executor.tasks_per_gpu)
    if memory or shared:
        fits.append(node.memory_mb // (memory or _SHARE_MB))
    if executor.tasks_per_node:
        fits.append(executor.tasks_per_node)
    at_once = max(1, min(fits))
    if shared and at_once > 1:
        context = _share(context, site.resources[executor.resources], node, at_once)
    return ResolvedExecutor(
        label=label, table=executor, provider=provider, python=_python(environment, executor.environment),
        environment=environment, workers_per_node=at_once, nodes=node.nodes,
        gpus=node.gpus if gpus else (), cores=context["cores"], run=site.run, context=context,
        min_runtime=_min_runtime(site.resources[executor.resources]),
    )  # fmt: skip


def _min_runtime(resources: schema.Resources) -> float | None:
    """The time (s) that must be left in a block for a task to start: by default, all that a task may take."""
    text = resources.min_runtime or resources.walltime
    return float(duration.parse(text)) if text else None


def _walltime(resources: schema.Resources, provider: schema.Provider) -> float | None:
    """How long a task may take (s): what is said, or just less than a block has, since it cannot get more."""
    if resources.walltime:
        return float(duration.parse(resources.walltime))
    block = provider.block_walltime
    return block - min(_BLOCK_MARGIN_S, block / 10) if block else None


def _share(context: Context, resources: schema.Resources, node: Machine, tasks: int) -> Context:
    """What each of several tasks has of a node that one of them would have alone."""
    cores = node.cores // tasks
    threads = resources.threads or max(1, cores // resources.ranks)
    return {**context, "cores": cores, "threads": threads, "memory": context["memory"] or node.memory_mb // tasks}


def _context(site: schema.Site, executor: schema.Executor, environment: schema.Environment, node: Machine) -> Context:
    """Where and with what a task runs, before it has a folder for logs and CPUs of its own."""
    resources = site.resources[executor.resources]
    device = resources.device if resources.device != "auto" else ("cuda" if node.gpus else "cpu")
    least = resources.ranks * (resources.threads or 1)
    cores = node.cores if resources.cores == "all" else max(resources.cores, least)
    return {
        "device": device, "dtype": resources.dtype or None, "kernels": resources.kernels,
        "cores": cores, "ranks": resources.ranks,
        "threads": resources.threads or max(1, cores // resources.ranks),
        "gpus": resources.gpus if resources.gpus is not None else int(device == "cuda"),
        "memory": megabytes(resources.memory) if resources.memory else None,
        "walltime": _walltime(resources, site.providers[executor.provider]),
        "launch": resources.launch, "executable": resources.executable, "env": dict(resources.env),
        "scratch": resources.scratch, "logs": "", "keep_scratch": site.run.keep_scratch, "cpus": None,
        "modules": list(environment.modules), "source": list(environment.source),
    }  # fmt: skip


def _check(site: schema.Site, executor: schema.Executor, context: Context, node: Machine) -> None:
    """Raise BadConfig for a task that asks for more than a node or a block has."""
    provider, resources = site.providers[executor.provider], site.resources[executor.resources]
    table = f"[resources.{executor.resources}]"
    has = "this process may use" if provider.type == "local" else f"a node of [providers.{executor.provider}] has"
    cores, gpus, memory, walltime = context["cores"], context["gpus"], context["memory"], context["walltime"]
    if cores > node.cores:
        problem = f"{table} cores: {cores} requested, but {has} {node.cores}"
        raise BadConfig(problem, "request fewer cores, or run inside a larger allocation")
    if gpus > len(node.gpus):
        visible = f"{len(node.gpus)} visible" if provider.type == "local" else f"{has} {len(node.gpus)}"
        hint = "" if provider.type == "local" else f"; [providers.{executor.provider}] sets how many GPUs a node has"
        raise BadConfig(
            f"{table} gpus: {gpus} requested, but {visible}", f'set device = "cpu" to run without one{hint}'
        )
    if memory and memory > node.memory_mb:
        problem = f"{table} memory: {resources.memory} requested, but {has} {node.memory_mb} MB"
        raise BadConfig(problem, "request less memory, or run inside a larger allocation")
    block = provider.block_walltime
    for key in ("walltime", "min_runtime"):
        if block and (text := getattr(resources, key)) and duration.parse(text) >= block:
            problem = f"{table} {key}: {text} does not fit into a block of [providers.{executor.provider}]"
            raise BadConfig(problem, "give the block more time, or the task less time")
    if resources.min_runtime and resources.walltime and (_min_runtime(resources) or 0) > (walltime or 0):
        problem = f"{table} min_runtime: {resources.min_runtime} is more than walltime, {resources.walltime}"
        raise BadConfig(problem, "a task ends after its walltime, so min_runtime cannot be longer")


def _python(environment: schema.Environment, name: str) -> str:
    """The Python of an environment; nodes of this machine can be looked at before anything is submitted."""
    if environment.container:  # what is in the image, only the image knows
        return str(Path(environment.prefix, "bin", "python")) if environment.prefix else "python3"
    if not environment.prefix:
        return sys.executable
    python = Path(os.path.expandvars(environment.prefix)).expanduser().absolute() / "bin" / "python"
    if not python.is_file():
        raise BadConfig(f"[environments.{name}] prefix: {python} does not exist", "give a virtual or conda environment")
    return str(python)
