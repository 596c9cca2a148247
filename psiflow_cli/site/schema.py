"""The tables of a site file, as frozen structs; a key that is not here is an error."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, field

Count = Annotated[int, Meta(ge=1)]
OPERATIONS = ("label", "train", "evaluate")
"""What a reference or a model family is used for: the keys of `[use]` below its name."""


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of every table: strict about unknown keys."""


class Provider(Table, frozen=True, kw_only=True):
    """Where resources come from."""

    type: Literal["local"] = "local"
    nodes: Count | None = None
    """Nodes per block; None: those of the enclosing SLURM job, or 1."""
    worker_init: list[str] = field(default_factory=list)
    """Shell lines that run before a worker starts."""


class Environment(Table, frozen=True, kw_only=True):
    """What the workers run in."""

    prefix: str = ""
    """A virtual or conda environment; empty: the one psiflow itself runs in."""


class Resources(Table, frozen=True, kw_only=True):
    """What one task needs."""

    cores: Count | Literal["all"] = 1
    ranks: Count = 1
    threads: Count | None = None
    """Threads per rank (`OMP_NUM_THREADS`); None: cores / ranks."""
    gpus: Annotated[int, Meta(ge=0)] | None = None
    """None: one if the device is a GPU, else none."""
    memory: str = ""
    walltime: str = ""
    device: Literal["auto", "cpu", "cuda"] = "cpu"
    dtype: Literal["", "float32", "float64"] = ""
    """Empty: the model's own."""
    launch: str = ""
    """Template of the launch command, such as `mpirun -np {ranks} -bind-to core`."""
    executable: str = ""
    env: dict[str, str] = field(default_factory=dict)
    scratch: str = ""
    """Empty: `$TMPDIR`, or /tmp."""


class Executor(Table, frozen=True, kw_only=True):
    """How: a Parsl executor that joins a provider, an environment and resources."""

    type: Literal["htex", "threads"] = "htex"
    provider: str
    environment: str = ""
    resources: str
    tasks_per_node: Count | None = None
    """None: as many as the node's cores, memory and GPUs allow."""


class Site(Table, frozen=True, kw_only=True):
    """A whole site file."""

    description: str = ""
    providers: dict[str, Provider]
    environments: dict[str, Environment] = field(default_factory=dict)
    resources: dict[str, Resources]
    executors: dict[str, Executor]
    use: dict[str, str | dict[str, str]]
    defaults: dict[str, dict[str, str | int | float | bool]] = field(default_factory=dict)
    """Default options per command: `[defaults.label] reference = "cp2k"`."""

    def executor_for(self, family: str, operation: str) -> str:
        """The executor that runs one of `OPERATIONS` of a model family or a reference code."""
        of_family = self.use.get(family)
        if isinstance(of_family, str):
            return of_family
        if of_family and operation in of_family:
            return of_family[operation]
        default = self.use["default"]
        assert isinstance(default, str)  # check.py has checked it
        return default
