"""What a sampling is asked to do: which dynamics, with which model, from where, and which files it writes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from psiflow_cli.bundle import Bundle
from psiflow_cli.messages import Dynamics, ModelWeights
from psiflow_cli.stages.core.workspace import Job
from psiflow_cli.stages.sample.blocking import Discard


@dataclass(frozen=True)
class Outputs:
    """Which files to write beside the trajectory, and what counts in the averages."""

    properties: str | None = None
    plot: str | None = None
    final: str | None = None
    stopped: str | None = None
    discard: Discard = field(default_factory=Discard)

    @property
    def files(self) -> tuple[str, ...]:
        """All of them."""
        return tuple(filter(None, (self.properties, self.plot, self.final, self.stopped)))

    @property
    def settings(self) -> dict[str, Any]:
        """What decides these outputs, and nothing of the dynamics, as builtins."""
        names = {name: getattr(self, name) for name in ("properties", "plot", "final", "stopped")}
        return {**names, "discard": [self.discard.value, self.discard.is_share]}


@dataclass(frozen=True)
class Sampling:
    """Which dynamics, with which model, from where."""

    job: Job
    model: Bundle
    family: str
    """The model family's module."""
    walkers: int
    """Per frame."""
    temperatures: list[list[float]]
    """[at the first, at the last step] in K, which the walkers of a frame take in turn."""
    settings: Dynamics
    """What all walkers share: see `protocols.Sampler`."""
    steps: int
    engine: str
    """A name, or `auto`."""
    batch: int | None
    outputs: Outputs = field(default_factory=Outputs)

    @property
    def weights(self) -> ModelWeights:
        """The model as a job has it."""
        return {"family": self.family, "members": self.model.members, "weights": self.model.weights}
