"""How a worker pool is started on each node of a block: Parsl's launchers, by the names that a site has for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psiflow_cli.errors import BadConfig
from psiflow_cli.site import schema
from psiflow_cli.site.executor import ResolvedExecutor

if TYPE_CHECKING:
    from parsl.launchers.base import Launcher

_OVERLAP = "$(srun --help 2>/dev/null | grep -q -e --overlap && echo --overlap)"
"""Shell text: lets steps that a task starts with `srun` run beside the pools, whose own step has all of the job.

The pools share the resources of the step that this process may be in itself, too, as `srun psiflow` makes it. From
SLURM 20.11 on each would wait for the other's end; before, steps shared a job in any case, and had no such option.
"""

_CLASSES: dict[str, str] = {
    "single_node": "SingleNodeLauncher",
    "srun": "SrunLauncher",
    "mpiexec": "MpiExecLauncher",
    "mpirun": "MpiRunLauncher",
    "aprun": "AprunLauncher",
    "jsrun": "JsrunLauncher",
}


def launcher_of(
    provider: schema.LaunchedProvider, resolved: ResolvedExecutor, of_several: str, elsewhere: bool = False
) -> Launcher:
    """The launcher that a site names; by default none for one node, and `of_several` for more, or for one `elsewhere`.

    Raises BadConfig for one that would leave nodes idle, and for options that nothing takes.
    """
    from parsl import launchers

    place, nodes = f"[providers.{resolved.table.provider}]", resolved.nodes
    chosen: str = provider.launcher
    if chosen == "auto":
        chosen = of_several if nodes > 1 or elsewhere else "single_node"
    if chosen != "single_node":
        own = _srun_options(nodes) if chosen == "srun" else ""
        options = " ".join(filter(None, (own, provider.launcher_options)))
        launcher: Launcher = getattr(launchers, _CLASSES[chosen])(overrides=options)
        return launcher
    if nodes > 1:
        problem = f"{place} launcher: single_node would leave all but one of a block's {nodes} nodes idle"
        raise BadConfig(problem, f'set launcher = "{of_several}", or nodes = 1')
    if provider.launcher_options:
        problem = f"{place} launcher_options: have no effect with blocks of one node"
        raise BadConfig(problem, f'launcher = "{of_several}" would')
    return launchers.SingleNodeLauncher()


def _srun_options(nodes: int) -> str:
    """Of the srun that starts one worker pool on each node of a job, with all that the job has there.

    Since SLURM 22.05 a step may be bound to one core of each node, whatever `--cpus-per-task` its job has. A worker is
    no rank of an MPI program, which the programs that it starts would take themselves for; and it needs the
    environment, also in a job submitted with `--export=NONE`.
    """
    return f"--nodes={nodes} --cpu-bind=none --mpi=none --export=ALL {_OVERLAP}"
