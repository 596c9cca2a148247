"""What moves a batch by a step, and the noise that it is given for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    import torch

    from psiflow_cli.samplers.torchsim.state import BatchState, Evaluate

    Draws = tuple[np.ndarray, np.ndarray]
    """What a walker of n atoms draws for some steps: [steps, n, 3], or [steps, 0, 3], for its atoms, and [steps, k]."""


@dataclass(frozen=True)
class StepNoise:
    """The numbers for one step of an integrator, with no elements where it draws none."""

    atoms: torch.Tensor  # [N, 3]
    walkers: torch.Tensor  # [B, k]


class Integrator(Protocol):
    """One step of a whole batch."""

    stress: bool  # whether each evaluation must give the stress

    def begin(self, state: BatchState) -> dict[str, torch.Tensor]:
        """The first values of its own variables, [B, ...] each; see `BatchState.own`."""

    def draw(self, rng: np.random.Generator, steps: int, atoms: int, dof: int) -> Draws:
        """What one walker draws for so many steps, in the order in which steps one by one would draw it."""

    def step(self, state: BatchState, evaluate: Evaluate, noise: StepNoise) -> None:
        """Move all walkers, with forces that are those of the present positions before and after."""

    def scale(self, state: BatchState, factor: torch.Tensor) -> None:
        """Multiply the momenta of each walker by a factor, [B], as its temperature is by the factor's square."""
