"""The tables of a site file, as frozen structs; a key that is not here is an error."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypedDict

import msgspec
from msgspec import Meta, field

from psiflow_cli import duration
from psiflow_cli.site.detect import Machine, megabytes

Word = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.,:/@+=%\[\]-]*$")]
"""A name that a batch system's command or script may hold as it is: nothing that a shell would read."""
Line = Annotated[str, Meta(pattern=r"^[^\n\r]*$")]
"""A line of a batch system's own; it cannot become two."""
VariableName = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Host = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.@%+-]*$")]
"""What `ssh` and `rsync` take for a host, and nothing else."""
Count = Annotated[int, Meta(ge=1)]
Amount = Annotated[int, Meta(ge=0)]
Bind = Annotated[str, Meta(pattern=r"^[^,\n\r]+$")]  # one folder: a comma would begin another
Variable = Annotated[str, Meta(pattern=r"^[^\n\r\0]+$")]  # one word of a command, which no shell reads
Default = str | int | float | bool | list[str | int | float] | dict[str, Any]  # a table for options such as --set
OPERATIONS = ("label", "train", "evaluate")
"""What a reference or a model family is used for: the keys of `[use]` below its name."""


def port_range(text: str) -> tuple[int, int]:
    """The first and the last port of `50000-51000`. Raises ValueError."""
    first, _, last = text.partition("-")
    if not (first.isdecimal() and last.isdecimal() and 1024 <= int(first) <= int(last) <= 65535):
        raise ValueError(f"{text!r} is not a range of ports from 1024 to 65535")
    return int(first), int(last)


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of every table: strict about unknown keys."""


class Provider(Table, frozen=True, kw_only=True):
    """Where resources come from; each kind adds its own keys in its file in `runtime/providers/`."""

    type: str = "local"
    worker_init: list[str] = field(default_factory=list)  # shell lines that run before a worker starts

    def share(self, here: Machine) -> Machine:
        """What a block has on each node, and its number of nodes; `here` is what this process may use."""
        raise NotImplementedError

    @property
    def block_walltime(self) -> float | None:
        """How long a block lives, in s."""
        return None


Launcher = Literal["auto", "single_node", "srun", "mpiexec", "mpirun", "aprun", "jsrun"]
"""Parsl's, for starting a worker pool on each node of a block."""


class Blocks(TypedDict):
    """How Parsl asks a batch system for blocks."""

    nodes_per_block: int
    init_blocks: int
    min_blocks: int
    max_blocks: int
    parallelism: float
    walltime: str  # HH:MM:SS
    worker_init: str
    cmd_timeout: int  # s


class LaunchedProvider(Provider, frozen=True, kw_only=True):
    """One whose blocks may have several nodes, with a worker pool to start on each."""

    launcher: Launcher = "auto"  # for one node none, for several what the batch system has
    launcher_options: Line = ""  # more options of that launcher


class BatchProvider(LaunchedProvider, frozen=True, kw_only=True):
    """What batch systems have in common."""

    cores_per_node: Count
    memory_per_node: str = ""
    gpus_per_node: Amount = 0
    nodes: Count = 1  # nodes of one block
    init_blocks: Amount = 1
    min_blocks: Amount = 0
    max_blocks: Count = 1
    parallelism: Annotated[float, Meta(ge=0, le=1)] = 1.0
    """Blocks as a part of those that all waiting tasks would fill at once; 0: no more than `min_blocks`."""
    walltime: str = "1:00:00"  # of one block
    command_timeout: Count = 60  # how many seconds the batch system's commands may take
    keep_variables: list[VariableName] = field(default_factory=list)
    """Of the shell's variables that blocks must not inherit, those that they inherit all the same."""

    def share(self, here: Machine) -> Machine:
        memory = megabytes(self.memory_per_node) if self.memory_per_node else 2**40
        gpus = tuple(str(number) for number in range(self.gpus_per_node))
        return Machine(self.cores_per_node, memory, gpus, self.nodes, "")

    @property
    def block_walltime(self) -> float | None:
        return float(duration.parse(self.walltime))

    @property
    def blocks(self) -> Blocks:
        """What all of Parsl's classes for batch systems take by the same names."""
        minutes, seconds = divmod(int(self.block_walltime or 0), 60)
        return {
            "nodes_per_block": self.nodes, "init_blocks": self.init_blocks, "min_blocks": self.min_blocks,
            "max_blocks": self.max_blocks, "parallelism": float(self.parallelism),
            "walltime": f"{minutes // 60:02d}:{minutes % 60:02d}:{seconds:02d}",
            "worker_init": "\n".join(self.worker_init), "cmd_timeout": self.command_timeout,
        }  # fmt: skip


class Environment(Table, frozen=True, kw_only=True):
    """What the workers run in."""

    prefix: str = ""  # a virtual or conda environment; empty: the one psiflow itself runs in
    modules: list[str] = field(default_factory=list)
    """Loaded for the programs that workers launch, in this order."""
    source: list[str] = field(default_factory=list)
    """Files that a shell sources, after the modules, for the programs that workers launch."""
    keep_pythonpath: bool = False
    """True: workers see PYTHONPATH, PYTHONHOME and the packages of `pip install --user`, as the command does."""
    container: str = ""
    """Image in which the workers run, with all that they launch; `prefix` is then a path inside it."""
    container_command: Literal["apptainer", "singularity"] = "apptainer"
    gpu_flag: Literal["", "--nv", "--rocm"] = ""
    """How GPUs get into the container; empty: `--nv` if the device is one."""
    binds: list[Bind] = field(default_factory=list)
    """More folders that the container sees, as `SOURCE[:TARGET[:ro]]`; the run directory is always there."""
    container_options: list[Variable] = field(default_factory=list)
    """More options of `apptainer exec`, a word each, such as `["--no-mount", "home"]`."""


class Resources(Table, frozen=True, kw_only=True):
    """What one task needs."""

    cores: Count | Literal["all"] = 1
    ranks: Count = 1
    threads: Count | None = None  # threads per rank (`OMP_NUM_THREADS`); None: cores / ranks
    gpus: Amount | None = None  # None: one if the device is a GPU, else none
    memory: str = ""
    walltime: str = ""  # empty: what a block has, less some minutes
    min_runtime: str = ""  # the least time left in a block for a task to start; empty: as `walltime` says
    device: Literal["auto", "cpu", "cuda"] = "cpu"
    dtype: Literal["", "float32", "float64"] = ""  # empty: the model's own
    kernels: str = ""
    """How walkers' models are computed, such as `eager` or `cueq`; empty: on a GPU what is fastest by a measurement."""
    launch: str = ""  # template of the launch command, such as `mpirun -np {ranks} -bind-to core`
    executable: str = ""
    env: dict[str, str] = field(default_factory=dict)
    scratch: str = ""  # empty: `$TMPDIR`, or /tmp


class Executor(Table, frozen=True, kw_only=True):
    """How: a Parsl executor that joins a provider, an environment and resources."""

    type: Literal["htex", "workqueue", "threads"] = "htex"
    provider: str
    environment: str = ""
    resources: str
    tasks_per_node: Count | None = None  # None: as many as the node's cores, memory and GPUs allow
    tasks_per_gpu: Count = 1  # tasks that share a GPU, or the GPUs of a task
    address: str = ""
    """Of the host that psiflow runs on, as workers reach it, or its network, interface or name, or several with commas;
    empty: all of its addresses are tried."""
    ports: str = ""
    """The first and the last port that workers may connect to, as in `50000-51000`; empty: any."""
    stall_patience: str = "10 min"
    """How long workers wait for a command whose host, file system or network hangs, and it for them."""
    idle_time: str = "2 min"  # a block without tasks is given back after this time
    on_oom: str = ""
    """Another executor, with more memory: a task that was out of memory here is tried there once."""
    retries: Amount | None = None
    """How often a task that was lost with its worker is tried again; None: as `[run.retries]` says."""
    parsl: dict[str, Any] = field(default_factory=dict)
    """More parameters of Parsl's class for this type of executor; see `runtime/executors/_parameters.py`."""


class Retries(Table, frozen=True, kw_only=True, rename="kebab"):
    """How often a task is tried again within one run, by its class of failure."""

    worker_lost: Amount = 2
    timeout: Amount = 0
    out_of_memory: Amount = 0
    crashed: Amount = 0


class Run(Table, frozen=True, kw_only=True):
    """What holds for a whole run, whatever its executor."""

    retries: Retries = Retries()
    cache: bool = True
    """False: the same command after a finished one computes all again, in place of saying that it is up to date."""
    strategy: Literal["auto", "none", "simple", "htex_auto_scale"] = "auto"
    """Parsl's, for starting and ending blocks; auto: none for the local provider, simple for all others."""
    log_level: Literal["off", "error", "warning", "info", "debug"] = "off"
    """Of Parsl's own log, parsl.log in the run directory."""
    keep_scratch: bool = False  # keep what the programs of a task leave in their scratch folder
    max_block_failures: Count = 3
    """So many blocks in a row that end without finishing a task stop the run, once no other block is left."""
    max_node_failures: Count = 2  # a node on which so many blocks fail gets no more, where the batch system can do that
    submit_patience: str = "1 h"  # how long submissions are tried again that are refused for a reason that may pass
    first_worker: str = "2 min"  # how long a running block may take to show its first worker
    queue_patience: str = "10 min"
    """How long jobs may wait for what never comes by itself, as one that is held; the others wait for ever."""


class Remote(Table, frozen=True, kw_only=True):
    """Another machine, on which the commands run and the rest of the site holds."""

    host: Host  # as `ssh` knows it: a name of the user's ssh configuration
    folder: Annotated[str, Meta(min_length=1, pattern=r"^[^\x00-\x1f]+$")]
    """There: below it are the files of this machine, by their whole paths."""
    psiflow: Annotated[str, Meta(min_length=1, pattern=r"^[^\x00-\x1f]+$")] = "psiflow"  # the command there
    reconnect: str = "2 min"  # how long a lost connection is tried again; "0": not at all


class Site(Table, frozen=True, kw_only=True):
    """A whole site file."""

    description: str = ""
    extends: str = ""  # another site, whose tables these are put on top of
    providers: dict[str, Provider]
    environments: dict[str, Environment] = field(default_factory=dict)
    resources: dict[str, Resources]
    executors: dict[str, Executor]
    run: Run = Run()
    remote: Remote | None = None
    use: dict[str, str | dict[str, str]]
    defaults: dict[str, dict[str, Default]] = field(default_factory=dict)
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
