"""What the providers of clouds and of Kubernetes share: client packages, and machines that are whole blocks."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from psiflow_cli.errors import BadConfig
from psiflow_cli.site import schema
from psiflow_cli.site.detect import Machine, megabytes
from psiflow_cli.site.executor import ResolvedExecutor

if TYPE_CHECKING:
    from parsl.providers.base import ExecutionProvider


class Instances(schema.Provider, frozen=True, kw_only=True):
    """Virtual machines: one is one block, and what its type has must be said, for Parsl does not know it."""

    cores_per_node: schema.Count
    memory_per_node: str = ""
    gpus_per_node: schema.Amount = 0
    init_blocks: schema.Amount = 1
    min_blocks: schema.Amount = 0
    max_blocks: schema.Count = 1

    def share(self, here: Machine) -> Machine:
        memory = megabytes(self.memory_per_node) if self.memory_per_node else 2**40
        gpus = tuple(str(number) for number in range(self.gpus_per_node))
        return Machine(self.cores_per_node, memory, gpus, 1, "")


def place(resolved: ResolvedExecutor) -> str:
    """Where in the site file an error about this provider belongs."""
    return f"[providers.{resolved.table.provider}]"


def required(resolved: ResolvedExecutor, key: str, value: str) -> str:
    """`value`, which a shipped site leaves to its users; raises BadConfig if it is empty."""
    if not value:
        problem = f"{place(resolved)} {key}: required, but missing"
        raise BadConfig(problem, "set this key in your own file with extends = ..., not in the shared one")
    return value


def file(resolved: ResolvedExecutor, key: str, value: str) -> str | None:
    """The path that a key names, with ~ and $VARIABLES replaced, or None; raises BadConfig if nothing is there."""
    if not value:
        return None
    path = Path(os.path.expandvars(value)).expanduser()
    if not path.is_file():
        raise BadConfig(f"{place(resolved)} {key}: no {path}", "give the file with the credentials")
    return str(path)


def absent(modules: tuple[str, ...]) -> list[str]:
    """Those of the modules that Parsl imports for a provider which are not installed here."""
    return [module for module in modules if not _importable(module)]


def problems(modules: tuple[str, ...], extra: str) -> list[str]:
    """What `psiflow site check` says of the packages that a provider needs."""
    missing = absent(modules)
    return [f"{', '.join(missing)} not installed beside psiflow: pip install 'parsl[{extra}]'"] if missing else []


def construct(
    resolved: ResolvedExecutor, modules: tuple[str, ...], extra: str, make: Callable[[], ExecutionProvider]
) -> ExecutionProvider:
    """What `make` makes; raises BadConfig if a client package is missing or refuses.

    `modules` are what Parsl imports for this provider, `extra` is the extra of Parsl that installs them.
    """
    if missing := absent(modules):
        raise BadConfig(
            f"{place(resolved)} type: {resolved.provider.type} needs {', '.join(missing)}, "
            "not installed beside psiflow",
            f"pip install 'parsl[{extra}]'",
        )
    try:
        return make()
    except Exception as error:  # each client has exceptions of its own, and all of them are the user's to fix
        reason = " ".join(str(error).split()) or "no reason given"
        problem = f"{place(resolved)}: {resolved.provider.type} cannot be used: {type(error).__name__}: {reason[:300]}"
        raise BadConfig(problem, "check the credentials and names in this table") from error


def _importable(module: str) -> bool:
    try:
        import_module(module)
    except ImportError:
        return False
    return True
