"""What a sampling is asked to do: which dynamics, with which model, from where, and which files it writes."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from psiflow_cli.stages.sample.blocking import Discard

if TYPE_CHECKING:
    from psiflow_cli.bundle import Bundle
    from psiflow_cli.messages import Conditions, Dynamics, ErrorScales, ModelWeights
    from psiflow_cli.stages.sample.continuing import Reset


@dataclass(frozen=True)
class Outputs:
    """Which files to write beside the trajectory, and what counts in the averages."""

    properties: str | None = None
    plot: str | None = None
    final: str | None = None
    stopped: str | None = None
    discard: Discard = field(default_factory=Discard)

    @property
    def by_option(self) -> dict[str, str | None]:
        """Each of the files, by the name of its option."""
        return {"properties": self.properties, "plot": self.plot, "final": self.final, "stopped": self.stopped}

    @property
    def files(self) -> tuple[str, ...]:
        """All of them."""
        return tuple(filter(None, self.by_option.values()))

    @property
    def requires(self) -> dict[str, str]:
        """The modules without which a file cannot be written, each with its option."""
        parquet = (self.properties or "").lower().endswith(".parquet")
        return ({"matplotlib": "--plot"} if self.plot else {}) | ({"pyarrow": "--properties"} if parquet else {})

    @property
    def settings(self) -> dict[str, object]:
        """What decides these outputs, and nothing of the dynamics, as builtins."""
        return {**self.by_option, "discard": [self.discard.value, self.discard.is_share]}


@dataclass(frozen=True)
class Sampling:
    """Which dynamics, with which model, from where."""

    model: Bundle
    family: str  # the model family's module
    dynamics: Dynamics  # what all walkers share
    walkers: int  # per frame
    temperatures: list[list[float]]
    """[at the first, at the last step] in K, which the walkers of a frame take in turn."""
    steps: int
    engine: str  # a name, or `auto`
    batch: int | None
    draw: bool = False  # first velocities, even where frames have some
    outputs: Outputs = field(default_factory=Outputs)
    plumed: str | None = None  # path of PLUMED's input, whose text is in `dynamics`
    plumed_outputs: dict[str, str] = field(default_factory=dict)  # where files that it names go, beside the trajectory
    pressures: list[float] = field(default_factory=list)
    """In bar, where there are several: with each, walkers take the temperatures in turn."""
    windows: list[dict[str, float]] = field(default_factory=list)
    """Values of the names in PLUMED's input: in each, walkers take the pressures in turn."""
    continued: str | None = None  # where walkers were at the end of an earlier run: a file
    reset: Reset | None = None  # which of them go back to their start
    nearest: str | None = None  # a file of frames, of which each walker begins at the nearest to its window
    scales: ErrorScales | None = None  # of a calibrated committee, whose expected errors are in the frames

    @property
    def draws_velocities(self) -> bool:
        """Whether first velocities are drawn whatever the frames have; those of beads always are."""
        return self.draw or self.dynamics["beads"] > 1

    @property
    def conditions(self) -> list[Conditions]:
        """What the walkers of a frame take in turn."""
        conditions: list[Conditions] = []
        windows: list[dict[str, float] | None] = [*self.windows] or [None]
        pressures: list[float | None] = [*self.pressures] or [None]
        for window, pressure, temperature in itertools.product(windows, pressures, self.temperatures):
            own: Conditions = {"temperature": temperature}
            if pressure is not None:
                own["pressure"] = pressure
            if window is not None:
                own["window"] = window
            conditions.append(own)
        return conditions

    @property
    def settings(self) -> dict[str, object]:
        """All that decides the trajectories besides the inputs, as builtins: it is in the run's fingerprint."""
        return {
            **self.dynamics, "model": self.model.fingerprint, "walkers": self.walkers,
            "temperature": self.temperatures, "steps": self.steps, "engine": self.engine, "batch": self.batch,
            **({"draw": True} if self.draw else {}),
            **({"pressures": self.pressures} if self.pressures else {}),
            **({"windows": self.windows} if self.windows else {}),
        }  # fmt: skip

    @property
    def weights(self) -> ModelWeights:
        """The model as a job has it."""
        return {"family": self.family, "members": self.model.members, "weights": self.model.weights}
