"""What `select` is asked for."""

from __future__ import annotations

from dataclasses import dataclass

from psiflow_cli.bundle import Bundle
from psiflow_cli.stages.core.framewise import Work
from psiflow_cli.stages.core.workspace import Job
from psiflow_cli.stages.select import features


@dataclass(frozen=True)
class Selection:
    """What is chosen from what, and how."""

    job: Job  # its frames are the inputs, and behind them what is there already
    competing: int  # how many of the job's files are chosen from
    number: int | None
    by: str  # `random`, `farthest`, `committee` or `error`
    score: str  # `max` or `mean`; see `scores`
    threshold: tuple[float, float] | None  # the least and the largest score of those that compete
    closest: float
    """The least distance of a chosen frame from others, in the space of the features; 0: none."""
    stratify: bool
    seed: int
    keys: dict[str, str] | None
    model: Bundle | None
    """Whose predictions and features count; without one, the frames say what was predicted."""
    descriptor: str | None  # `model` or `soap`: the space in which distances count, if they do
    rest: str | None

    @property
    def has_scores(self) -> bool:
        """Whether the choice is by a score."""
        return self.by in ("committee", "error")

    def features(self, elements: set[str]) -> Work:
        """What makes the features of frames of these elements."""
        if self.descriptor == "model" and self.model:
            return features.of_model(self.model, self.job.dtype)
        return features.soap(elements)
