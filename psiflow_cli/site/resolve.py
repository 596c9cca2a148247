"""From a site's words to one executor's numbers: `all` and `auto` replaced by what the machine has."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

from psiflow_cli import duration, environments
from psiflow_cli.errors import BadConfig
from psiflow_cli.seams import Wire
from psiflow_cli.site import schema
from psiflow_cli.site.detect import Machine, megabytes


@dataclass(frozen=True)
class Target:
    """Everything that running one operation needs to know."""

    label: str
    executor: schema.Executor
    provider: schema.Provider
    python: str
    environment: schema.Environment
    workers_per_node: int
    nodes: int
    gpus: tuple[str, ...]
    cores: int
    run: schema.Run = field(default_factory=schema.Run)
    context: Wire = field(default_factory=dict)
    on_oom: Target | None = None
    """Where a task that took too much memory goes."""

    @property
    def workers(self) -> int:
        """Tasks that run at once, in all blocks."""
        return self.workers_per_node * self.nodes * getattr(self.provider, "max_blocks", 1)

    def retries(self, failure: str) -> int:
        """How often a task that ended with this class of failure is tried again within this run."""
        if failure == "worker-lost" and self.executor.retries is not None:
            return self.executor.retries
        return int(getattr(self.run.retries, failure.replace("-", "_"), 0))


def target(site: schema.Site, family: str, operation: str, machine: Machine) -> Target:
    """The executor of one operation, with its resources in numbers."""
    found = _for_family(of_executor(site, site.executor_for(family, operation), machine), family)
    if not found.executor.on_oom:
        return found
    return replace(found, on_oom=_for_family(of_executor(site, found.executor.on_oom, machine), family))


def _for_family(found: Target, family: str) -> Target:
    """With the Python that has what the family needs, where the site names none."""
    if found.environment.prefix or found.environment.container:
        return found
    return replace(found, python=environments.python_for(family, found.executor.type))


def of_executor(site: schema.Site, label: str, machine: Machine) -> Target:
    """An executor with its resources in numbers; see `psiflow_cli.seams` for the context."""
    executor = site.executors[label]
    resources = site.resources[executor.resources]
    provider = site.providers[executor.provider]
    machine = provider.share(machine)
    has = "this process may use" if provider.type == "local" else f"a node of [providers.{executor.provider}] has"
    environment = site.environments.get(executor.environment, schema.Environment())
    device = resources.device if resources.device != "auto" else ("cuda" if machine.gpus else "cpu")
    gpus = resources.gpus if resources.gpus is not None else int(device == "cuda")
    cores = (
        machine.cores if resources.cores == "all" else max(resources.cores, resources.ranks * (resources.threads or 1))
    )
    if cores > machine.cores:
        raise BadConfig(
            f"[resources.{executor.resources}] cores: {cores} asked for, but {has} {machine.cores}",
            "ask for fewer cores, or run inside a larger allocation",
        )
    if gpus > len(machine.gpus):
        raise BadConfig(
            f"[resources.{executor.resources}] gpus: {gpus} asked for, but {len(machine.gpus)} visible",
            'device = "cpu" runs without one',
        )
    memory = megabytes(resources.memory) if resources.memory else None
    if memory and memory > machine.memory_mb:
        raise BadConfig(
            f"[resources.{executor.resources}] memory: {resources.memory} asked for, but {has} {machine.memory_mb} MB",
            "ask for less memory, or run inside a larger allocation",
        )
    fits = [machine.cores // cores]
    if gpus:
        fits.append(len(machine.gpus) // gpus)
    if memory:
        fits.append(machine.memory_mb // memory)
    if executor.tasks_per_node:
        fits.append(executor.tasks_per_node)
    walltime = float(duration.parse(resources.walltime)) if resources.walltime else None
    if walltime and provider.block_walltime and walltime >= provider.block_walltime:
        raise BadConfig(
            f"[resources.{executor.resources}] walltime: a task of {resources.walltime} does not fit into a block of "
            f"[providers.{executor.provider}]",
            "give the block more time, or the task less",
        )
    context: Wire = {
        "device": device,
        "dtype": resources.dtype or None,
        "cores": cores,
        "ranks": resources.ranks,
        "threads": resources.threads or max(1, cores // resources.ranks),
        "gpus": gpus,
        "memory": memory,
        "walltime": walltime,
        "launch": resources.launch,
        "executable": resources.executable,
        "env": dict(resources.env),
        "scratch": resources.scratch,
        "keep_scratch": site.run.keep_scratch,
        "cpus": None,
        "modules": list(environment.modules),
        "source": list(environment.source),
    }
    return Target(
        label=label,
        executor=executor,
        provider=provider,
        python=_python(environment, executor.environment),
        environment=environment,
        workers_per_node=max(1, min(fits)),
        nodes=machine.nodes,
        gpus=machine.gpus if gpus else (),
        cores=cores,
        run=site.run,
        context=context,
    )


def _python(environment: schema.Environment, name: str) -> str:
    """The Python of an environment; nodes of this machine can be looked at before anything is submitted."""
    if environment.container:  # what is in the image, only the image knows
        return str(Path(environment.prefix, "bin", "python")) if environment.prefix else "python3"
    if not environment.prefix:
        return sys.executable
    python = Path(os.path.expandvars(environment.prefix)).expanduser().absolute() / "bin" / "python"
    if not python.is_file():
        raise BadConfig(f"[environments.{name}] prefix: no {python}", "name a virtual or conda environment")
    return str(python)
