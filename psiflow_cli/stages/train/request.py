"""What `psiflow train` is asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from psiflow_cli import extxyz
from psiflow_cli.bundle import Bundle
from psiflow_cli.protocols import Model
from psiflow_cli.stages.core.workspace import Job
from psiflow_cli.stages.train import initial_model
from psiflow_cli.stages.train.e0s import E0S

if TYPE_CHECKING:
    from psiflow_cli.messages import Config

_DECISIVE = ("arch", "valid", "e0s", "config", "keys", "members", "seed", "bootstrap")


@dataclass(frozen=True)
class Training:
    """What to fit, to what, and how; the names are those of the options of `psiflow train`."""

    arch: str  # a family's name, or a file.py
    module: Model
    valid: str  # a file, or a share of the data
    e0s: E0S | str | None
    config: Config = field(default_factory=dict)
    config_file: str = ""  # where `config` was read from, or empty
    settings: dict[str, str] = field(default_factory=dict)
    keys: str | None = None
    members: int = 1
    seed: int = 0
    init: Bundle | None = None  # a model to start from, of the same family
    replay: bool = True  # whether what that was trained on is trained on again
    bootstrap: bool = False  # whether each member has its own sample of the training frames
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

    def job(self, frames: tuple[str, ...], output: str) -> Job:
        """The job, with all that decides the result besides the frames."""
        settings = {name: getattr(self, name) for name in _DECISIVE}
        settings |= {"set": self.settings, "init": None}
        if self.init:
            # The output is another model after every training.
            is_output = initial_model.is_output(self.init, output)
            settings |= {"init": "the output" if is_output else self.init.fingerprint, "replay": self.replay}
        others = (self.valid_file,) if self.valid_file else ()
        return Job("train", frames, output, settings, others, options_require={"matplotlib": "the learning curve"})


def is_number(text: str) -> bool:
    """Whether --valid is a share, and no file."""
    try:
        float(text)
    except ValueError:
        return False
    return True
