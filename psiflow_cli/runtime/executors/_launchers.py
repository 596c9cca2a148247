"""How a worker pool is started on each node of a block: Parsl's launchers, by the names that a site has for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psiflow_cli.errors import BadConfig
from psiflow_cli.runtime.providers._parsl_internals import srun_options
from psiflow_cli.site import schema
from psiflow_cli.site.executor import ResolvedExecutor

if TYPE_CHECKING:
    from parsl.launchers.base import Launcher

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
        own = srun_options(nodes) if chosen == "srun" else ""
        options = " ".join(filter(None, (own, provider.launcher_options)))
        launcher: Launcher = getattr(launchers, _CLASSES[chosen])(overrides=options)
        return launcher
    if nodes > 1:
        problem = f"{place} launcher: single_node would leave all but one of a block's {nodes} nodes idle"
        raise BadConfig(problem, f'launcher = "{of_several}", or nodes = 1')
    if provider.launcher_options:
        problem = f"{place} launcher_options: blocks of one node have no launcher that takes them"
        raise BadConfig(problem, f'launcher = "{of_several}" would')
    return launchers.SingleNodeLauncher()
