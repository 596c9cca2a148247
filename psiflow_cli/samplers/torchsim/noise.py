"""The noise of each walker from its own generator, drawn for many steps at once and sent to the device once.

A generator gives the same numbers whether they are drawn step by step or for many steps in one call, so a walker's
noise depends on the seed, the walker and the step alone, as with the engines that move one walker after another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from psiflow_cli.samplers.torchsim.integrators.integrator import StepNoise

if TYPE_CHECKING:
    import torch

    from psiflow_cli.samplers.torchsim.integrators.integrator import Draws, Integrator
    from psiflow_cli.worker.md.walker import MovingWalker

BYTES = 8 * 1024**2
"""Of the noise of one chunk of steps."""


class Noise:
    """Of the walkers of a batch, from the step where they are."""

    def __init__(self, integrator: Integrator, walkers: Sequence[MovingWalker], device: torch.device) -> None:
        import torch

        self._integrator, self._walkers, self._device = integrator, list(walkers), device
        self._first, self._steps = 0, 0  # the chunk's first step, and how many it has
        self._begins: list[Any] = [walker.rng.bit_generator.state for walker in walkers]  # at the chunk's begin
        self._atoms, self._own = torch.zeros((0, 0, 3)), torch.zeros((0, 0, 0))  # [steps, N, 3] and [steps, B, k]

    def prepare(self, step: int, end: int, interval: int) -> None:
        """Have the noise of this step, and of as many as the memory allows; none of steps beyond `end`.

        A chunk ends at a multiple of `interval` or at `end`.
        """
        import torch

        if self._first <= step < self._first + self._steps:
            return
        numbers = sum(3 * len(walker.start["symbols"]) + 1 for walker in self._walkers)
        last = step - 1 + max(1, BYTES // (8 * numbers))
        last = min(end, max(last // interval, (step - 1) // interval + 1) * interval)
        self._first, self._steps = step, last - step + 1
        self._begins = [walker.rng.bit_generator.state for walker in self._walkers]
        draws = [self._draw(walker, self._steps) for walker in self._walkers]
        self._atoms = self._sent(torch.cat([torch.from_numpy(atoms) for atoms, _ in draws], dim=1))
        self._own = self._sent(torch.stack([torch.from_numpy(own) for _, own in draws], dim=1))

    def at(self, step: int) -> StepNoise:
        """The noise of a step that is prepared."""
        return StepNoise(self._atoms[step - self._first], self._own[step - self._first])

    def settle(self, walker: MovingWalker) -> None:
        """Put the generator of a walker where it is after the walker's step."""
        steps = walker.step - self._first + 1
        if steps < self._steps:
            walker.rng.bit_generator.state = self._begins[self._walkers.index(walker)]
            if steps:
                self._draw(walker, steps)

    def only(self, places: Sequence[int], atoms: torch.Tensor) -> None:
        """Go on with some of the walkers, by their places in the batch; `atoms` are the rows of their atoms."""
        import torch

        self._walkers = [self._walkers[i] for i in places]
        self._begins = [self._begins[i] for i in places]
        if self._atoms.numel():
            self._atoms = self._atoms.index_select(1, atoms)
        if self._own.numel():
            self._own = self._own.index_select(1, torch.tensor(places, device=self._device))

    def _draw(self, walker: MovingWalker, steps: int) -> Draws:
        return self._integrator.draw(walker.rng, steps, len(walker.start["symbols"]), walker.degrees_of_freedom)

    def _sent(self, numbers: torch.Tensor) -> torch.Tensor:
        pinned = numbers.pin_memory() if self._device.type == "cuda" else numbers
        return pinned.to(self._device, non_blocking=True)
