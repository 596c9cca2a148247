"""Run one of Parsl's own scripts without the half second that `import parsl` takes.

    python light_parsl.py /path/to/bin/process_worker_pool.py [ARGUMENT ...]

Seen in Parsl 2025.1 to 2026.10: the interchange and the worker pool need a few modules of Parsl, but Python runs
`parsl/__init__.py` and `parsl/executors/__init__.py` first, which import all of it. Here these two packages are empty
until somebody asks for what only the whole of Parsl has. A process that the pool spawns runs this file again, as
`__mp_main__`, and the script itself only if it needs something of it: the server of the pool's shared dictionaries,
the first of them, does not.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import os
import platform
import sys
import types

_PACKAGES = ("parsl", "parsl.executors")


class _Package(types.ModuleType):
    """A package whose `__init__` runs when something of it is asked for that is no module."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        if importlib.machinery.PathFinder.find_spec(f"{self.__name__}.{name}", self.__path__):
            return importlib.import_module(f"{self.__name__}.{name}")
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


def _defer() -> None:
    """Put the empty packages in place."""
    spec = importlib.machinery.PathFinder.find_spec(_PACKAGES[0])
    for root in (spec and spec.submodule_search_locations) or ():
        for name in _PACKAGES:
            package = _Package(name)
            package.__path__ = [os.path.join(root, *name.split(".")[1:])]
            sys.modules.setdefault(name, package)


def _run(script: str) -> None:
    """Run the script's source as if it were this file."""
    with open(script, encoding="utf-8") as stream:
        exec(compile(stream.read(), script, "exec"), globals())


def __getattr__(name: str) -> object:
    """What a spawned process asks of the script."""
    script = sys.argv[0]
    if name.startswith("__") or "_ran" in globals():
        raise AttributeError(name)
    globals()["_ran"] = True
    _run(script)
    return globals()[name]


def _name_node() -> None:
    """Let the pool call its node as the batch system does, which its own host name need not be."""
    if name := os.environ.get("SLURMD_NODENAME"):
        platform.node = lambda: name


if __name__ == "__main__":
    _name_node()
    del sys.argv[0], sys.path[0]  # this file's folder has modules of any name
    _defer()
    _ran = True
    _run(sys.argv[0])
elif __name__ == "__mp_main__":
    _defer()
