"""The words that put a worker into its environment's container.

Apptainer and Singularity share these options, show the home and the working directory by themselves, and pass the
environment on: https://apptainer.org/docs/user/main/bind_paths_and_mounts.html
"""

from __future__ import annotations

import os
from pathlib import Path

from psiflow_cli.errors import BadConfig
from psiflow_cli.site.executor import ResolvedExecutor

INSIDE = "/opt/psiflow"
"""Where the command's own psiflow_cli is inside, so that an image need not hold one of the same version."""


def words(resolved: ResolvedExecutor, *folders: Path) -> list[str]:
    """What stands before a command that is to run in the container; nothing if there is none.

    `folders` are seen inside by their names outside. Raises BadConfig for an image file that is not there.
    """
    environment = resolved.environment
    if not environment.container:
        return []
    image = os.path.expanduser(os.path.expandvars(environment.container))
    if "://" not in image:
        image = os.path.abspath(image)
        if not os.path.exists(image):
            problem = f"[environments.{resolved.table.environment}] container: {image} does not exist"
            raise BadConfig(problem, "give an image file or folder, or a URI such as docker://NAME")
    package = Path(__file__).parents[1]
    binds = [f"{package}:{INSIDE}/{package.name}:ro", *map(str, folders), *map(os.path.expandvars, environment.binds)]
    gpu = environment.gpu_flag or ("--nv" if resolved.context["gpus"] else "")
    return [
        environment.container_command, "exec", *([gpu] if gpu else []),
        *(word for bind in binds for word in ("--bind", bind)), "--env", f"PYTHONPATH={INSIDE}",
        *map(os.path.expandvars, environment.container_options), image,
    ]  # fmt: skip
