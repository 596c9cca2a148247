"""What `psiflow train` is asked for."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from psiflow_cli import extxyz
from psiflow_cli.bundle import Bundle
from psiflow_cli.errors import UsageError
from psiflow_cli.protocols import Model, NamesFiles
from psiflow_cli.stages.core.workspace import Job
from psiflow_cli.stages.train import initial_model
from psiflow_cli.stages.train.config import TrainersFile
from psiflow_cli.stages.train.e0s import E0S

_DECISIVE = ("arch", "valid", "e0s", "keys", "members", "seed", "bootstrap")


@dataclass(frozen=True)
class Training:
    """What to fit, to what, and how; the names are those of the options of `psiflow train`."""

    arch: str  # a family's name, or a file.py
    module: Model
    valid: str  # a file, or a share of the data
    e0s: E0S | str | None
    config: TrainersFile = field(default_factory=TrainersFile)
    size: str | None = None  # of psiflow's own defaults
    settings: dict[str, str] = field(default_factory=dict)
    keys: str | None = None
    members: int = 1
    seed: int = 0
    init: Bundle | None = None  # a model to start from, of the same family
    replay: bool = True  # whether what that was trained on is trained on again
    bootstrap: bool | None = None
    """Whether each member has its own sample of the training frames; None: those that share where they start from."""
    mixed_references: bool = False  # whether labels of several methods may be taken together

    @property
    def worker(self) -> str:
        """The family as a worker loads it."""
        return self.arch if self.arch.endswith(".py") else self.module.__name__

    @property
    def valid_file(self) -> str | None:
        return None if is_number(self.valid) else self.valid

    @property
    def label_keys(self) -> dict[str, str] | None:
        """The names of the labels in the frames, where they are not the standard ones. Raises UsageError."""
        return extxyz.parse_keys(self.keys) if self.keys else None

    @cached_property
    def files(self) -> dict[str, str]:
        """Absolute paths of the files and modules that the configuration names, by the name there. Raises NoInput."""
        named = self.module.named_files(self.config.table, self.settings) if isinstance(self.module, NamesFiles) else []
        paths = {each["name"]: self.config.find(each, self.settings) for each in named}
        return {name: str(path.absolute()) for name, path in paths.items() if path}

    @property
    def file_parts(self) -> list[str]:
        """All files that the configuration names, those of Python packages one by one."""
        packages = {path: sorted(map(str, Path(path).rglob("*.py"))) for path in self.files.values()}
        return [part for path in sorted(packages) for part in packages[path] or [path]]

    def check(self) -> None:
        """Raise UsageError for options that exclude each other."""
        if self.size and self.config.name:
            problem = f"--size changes psiflow's own defaults, but {self.config.name} is used as it is"
            raise UsageError(problem, "leave out --size or --config")
        if self.size and self.init:
            raise UsageError("--size: the model of --init decides the size", "leave out --size")

    def has_sample(self, index: int) -> bool:
        """Whether a member has its own sample of the training frames; it does not depend on how many members follow.

        Members that start from the same weights would otherwise differ in the order of the data only.
        """
        shares_start = self.init is not None and index >= len(self.init.members)
        return shares_start if self.bootstrap is None else self.bootstrap

    def member_seed(self, index: int) -> int:
        """The seed of a member: committees of different seeds have none in common."""
        if index == 0:
            return self.seed
        return int.from_bytes(hashlib.sha256(f"member {self.seed} {index}".encode()).digest()[:4], "big") >> 1

    def job(self, frames: tuple[str, ...], output: str) -> Job:
        """The job, with all that decides the result besides the frames."""
        settings = {name: getattr(self, name) for name in _DECISIVE}
        settings |= {"config": self.config.table, "set": self.settings, "init": None, "bootstrap": bool(self.bootstrap)}
        if self.size:
            settings["size"] = self.size
        if self.config.name and not self.config.table:
            settings["as_given"] = True  # an empty file asks for the trainer's own defaults
        if self.init:
            # The output is another model after every training.
            is_output = initial_model.is_output(self.init, output)
            settings |= {"init": "the output" if is_output else self.init.fingerprint, "replay": self.replay}
            if not is_output and self.has_sample(self.members - 1) != bool(self.bootstrap):
                settings["bootstrap"] = "where members share the start"
        inputs = (*([self.valid_file] if self.valid_file else []), *self.file_parts)
        return Job("train", frames, output, settings, inputs, options_require={"matplotlib": "the learning curve"})


def is_number(text: str) -> bool:
    """Whether --valid is a share, and no file."""
    try:
        float(text)
    except ValueError:
        return False
    return True
