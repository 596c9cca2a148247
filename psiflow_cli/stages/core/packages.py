"""Packages that a back end or an option needs where the workers run: asked for before anything is submitted."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec

from psiflow_cli.errors import BadConfig
from psiflow_cli.site.executor import ResolvedExecutor

_TIMEOUT_S = 60
_ASK = "import sys; from importlib.util import find_spec; print(*(n for n in sys.argv[1:] if not find_spec(n)))"
_REQUIREMENTS = {"torch_sim": "torch-sim-atomistic", "mace": "mace-torch", "allegro": "nequip-allegro"}
"""What pip calls a module whose distribution has another name."""


def require(executor: ResolvedExecutor, needs: Mapping[str, str]) -> None:
    """Raise BadConfig where a module is missing; `needs` is {module: what needs it, such as an option}.

    Containers are not asked, nor is a Python that does not run on this host: there the task itself will tell.
    """
    for module in _missing(executor, list(needs)):
        place = f"[environments.{name}]" if (name := executor.table.environment) else executor.python
        problem = f"{needs[module]} needs {module}, which is not installed where the workers run ({place})"
        without = f", or leave {needs[module]} out" if needs[module].startswith("--") else ""
        raise BadConfig(problem, f"{executor.python} -m pip install {_REQUIREMENTS.get(module, module)}{without}")


def _missing(executor: ResolvedExecutor, modules: list[str]) -> list[str]:
    if executor.python == sys.executable:
        return [module for module in modules if find_spec(module) is None]
    if executor.environment.container or not modules:
        return []
    argv = [*executor.isolation, executor.python, "-c", _ASK, *modules]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_TIMEOUT_S, cwd="/", check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.split() if done.returncode == 0 else []
