"""What a back end looks like: the Protocols that its module satisfies, and what crosses the wire.

A back end is a module whose top imports only the standard library and `psiflow_cli.worker`/`errors`; heavy imports
live inside functions. Functions marked *worker* run in the worker's environment and are called by name through
`psiflow_cli.worker.process.call`; only builtins (str, int, float, bool, None, list, dict) cross, both ways.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

Wire = dict[str, Any]
"""A dict of builtins.

A *frame* on the wire is
    {"id": 16 hex digits, "symbols": [str], "positions": [[x, y, z] in Å], "cell": [[3] * 3] in Å or None,
     "pbc": [bool] * 3, "charge": int, "multiplicity": int}      (the last two only where the input gives them)

The *context* of a task is
    {"scratch": folder for temporary files, "keep_scratch": bool, "logs": folder for logs to keep,
     "device": "cpu" | "cuda", "dtype": "float32" | "float64" | None (the model's own),
     "cores": int, "ranks": int, "threads": int, "gpus": int, "memory": MB or None, "walltime": seconds or None,
     "launch": template or "", "executable": name or "", "env": {name: value}, "cpus": [int] or None,
     "modules": [names], "source": [files]}

A *label* is {"energy": eV, "forces": [[x, y, z]] eV/Å, "stress": [xx, yy, zz, yz, xz, xy] eV/Å³ or None,
"code": "CP2K 2023.1"}. Where the user's input asks for more it also has "info": {name: number or list of numbers} and
"arrays": {name: [number of each atom]}, such as a dipole moment (e·Å) and charges (e). A *failure* is
{"failure": class, "message": str, "log": path or ""}; the classes are `worker.process.call.FAILURES`.
"""


class Reference(Protocol):
    """A method that labels frames. One file in `references/`.

    It may also have
        replaced(input_file) -> [str]      what of the input does not count, because the frame or psiflow decides it
        render(frame, settings) -> str     the input that a frame would get, for --dry-run
        isolated(settings) -> settings     those for single atoms: neutral, unrestricted, without dispersion
        identity(settings) -> settings     without what does not decide a label, such as where a file is
        runs_as(settings) -> (str, str)    the family and the operation by which a site names its executor
    """

    SUMMARY: str
    REQUIRES: tuple[str, ...]
    """Python packages that its `label` imports in the worker."""
    FRAME_INPUTS: tuple[str, ...]
    """Which of `charge`, `multiplicity` it reads from a frame (they are part of the frame's `psiflow_id`)."""
    DEFAULT_TASK_SECONDS: float
    """How long one task should take: frames are grouped until they fill it (0: one frame a task)."""

    def settings(self, input_file: Path | None, options: dict[str, str]) -> Wire:
        """Read and check the user's input, in the command's process.

        `options` are the `--set key=value` pairs. Returns what `label` needs and nothing that differs between equal
        methods: its canonical JSON is hashed into `psiflow_reference`. Raises BadData, NoInput or UsageError.
        """

    def check(self, settings: Wire, elements: set[str]) -> list[str] | None:
        """Raise BadData if these elements cannot be labelled with these settings; may return notes for the user."""

    def label(self, frames: list[Wire], settings: Wire, context: Wire) -> list[Wire]:
        """*worker*: a label or a failure for each frame, in order. `Fatal` ends the whole run."""

    def changed(self, settings: Wire, changes: dict[str, str]) -> Wire:
        """The settings with changes that the user declared. Raises UsageError for what cannot be changed."""

    def code(self, context: Wire) -> str:
        """*worker*: the code and its version, as labels carry it."""


class Model(Protocol):
    """A family of potentials. One file in `models/`.

    It may also have
        FILES: tuple[str, ...]     how the model files of its trainer end, which may be used in place of a bundle
        MAIN_SETTINGS: tuple[str, ...]     dotted names of what `psiflow model show` shows of the configuration
        EXPORTS: dict[str, dict[str, str]]     {target: {format: how its files end ("" for a folder)}}, the usual first
        WHOLE_COMMITTEES: tuple[str, ...]     the targets that take all members at once; others take one
        export(members, target, form, folder, context) -> str     *worker*: the file or folder made in `folder`
        COMPILES: dict[str, str]     {target: how its compiled files end}, the usual first
        features(frame, member, context) -> array (atoms, width)    *worker*: what a member knows of each atom, the
                                   same however the frame is turned, moved or written
        torchsim(member, context, stress) -> torch_sim's ModelInterface on a member's weights     *worker*
        notes(config, summary) -> [str]     what `plan` has let pass, but the user should know
        compile(member, target, folder, context) -> {"path": made in `folder`, "dtype": ..., **what a machine must
                                   share to use it}     *worker*
    """

    SUMMARY: str
    REQUIRES: tuple[str, ...]

    def plan(self, config: dict[str, Any], options: dict[str, str], summary: Wire) -> Wire:
        """The trainer's full configuration, in the trainer's own names, in the command's process.

        `config` is the user's file, `options` the `--set` pairs (they win), `summary` describes the data:
        {"elements": [str], "frames": int, "valid_frames": int, "stress": bool (of every frame),
         "some_stress": bool (of at least one), "periodic": bool, "weighted": where a frame counts more or less than
         others, or "", "e0s": {symbol: eV}, "average" or "init" (those of the
         model file to start from), "dtype": "float32" | "float64" (only if the site asks for one), "init": the
         configuration of the model to start from, empty for a model file of which nothing is known (only if there is
         one)}.
        Raises UsageError for an option that contradicts the model to start from.
        """

    def train(self, job: Wire, context: Wire) -> Wire:
        """*worker*: run the trainer in `job["workdir"]` and go on from what an earlier run left there.

        job: {"workdir", "train", "valid" (extended XYZ with energy, forces, stress, config_type, config_weight),
        "config": from `plan`, "seed": int, "init": a member's folder of a bundle of this family, or a model file of
        the trainer's own, to start from (only if there is one), "seconds": float or None}.
        It stops by itself, after a whole epoch, so early that the best model so far is there within `seconds` of the
        call; one epoch is always trained.
        Returns {"weights": [paths], "logs": [paths], "metrics": {...}, "trainer": "mace-torch 0.3.16", "cutoff": Å,
        "elements": [...], "dtype": ..., "atomic_energies": {...}, "finished": False if the time ended it}.
        """

    def epochs(self, config: Wire) -> int:
        """How many epochs a configuration from `plan` asks for."""

    def progress(self, workdir: Path) -> list[Wire]:
        """The finished epochs so far, read from the trainer's own files: [{"epoch": int, "loss": float, …}]."""

    def predict(self, frames: list[Wire], members: list[str], context: Wire) -> list[list[Wire]]:
        """*worker*: for each member, a label (without "code") for each frame, batched."""

    def calculator(self, member: str, context: Wire) -> Any:
        """*worker*: an ASE calculator on one member's weights folder."""


class Sampler(Protocol):
    """An engine for molecular dynamics. One file in `samplers/`."""

    SUMMARY: str
    REQUIRES: tuple[str, ...]
    BATCHED: bool
    """Whether it gains by moving walkers together; else a task has one, or those that exchange temperatures."""

    def refuses(self, settings: Wire) -> str:
        """Why it cannot do what these settings (those of a job) ask for, or ""; in the command's process."""

    def advance(self, job: Wire, context: Wire) -> Wire:
        """*worker*: move a group of walkers from its last checkpoint by `job["block"]` steps at most.

        job: {"folder": the group's own, "walkers": [{"walker": number, "start": frame, which may have "fixed": [atoms]
        and "masses" (see `worker.structures.frames.masses`), "temperature": [at the first, at the last step] in K}],
        "model": {"family": name or file.py, "members": [folders] (more than one: the mean of their energies and forces
        moves the walkers, and each frame has their spread), "weights": {path: sha256}},
        "ensemble": "nve" | "nvt" | "npt" | "nvst", "thermostat": "langevin" | "csvr" | "nose-hoover",
        "timestep": fs, "friction": 1/ps, "thermostat_time": fs, "chain_length": int, "pressure": bar,
        "cell": "isotropic" | "flexible", "barostat_time": fs, "ramp_steps": int or None, "exchange": steps or None,
        "beads": int, "plumed": text or None, "steps": in all, "every": steps between recorded frames, "block": int,
        "batch": how many walkers a model is given at once, "seed": int,
        "limits": {"force": eV/Å, "temperature": K, "distance": Å, "spread": eV/Å}, each None for no limit}.

        Returns {"walkers": of each, in order, {"step": reached, "frames": recorded in all, "bytes": of the trajectory
        that hold them, "stopped": None or {"reason", "kind": "force" | "temperature" | "distance" | "spread" | "nan",
        "step"}}, "seconds": of this call}, and "batch" where memory made it smaller.

        A walker's path is decided by seed, number, start and settings, however it is cut into blocks and whoever else
        is in its group (to rounding). The folder is `worker.md.checkpoint.Group`'s, the frames are
        `worker.md.frame_record.text`.
        """
