"""The noise of each walker from its own generator, drawn for many steps at once and sent to the device once.

A generator gives the same numbers whether they are drawn step by step or for many steps in one call, so a walker's
noise depends on the seed, the walker and the step alone, as with the engines that move one walker after another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psiflow_cli.samplers.torchsim.integrators.integrator import StepNoise

if TYPE_CHECKING:
    import torch

    from psiflow_cli.samplers.torchsim.integrators.integrator import Draws, Integrator
    from psiflow_cli.worker.md.walker import MovingWalker

BYTES = 8 * 1024**2
"""Of the noise of one chunk of steps, of which a GPU has two; a step of 256 walkers of 24 atoms takes 0.15 MB."""


@dataclass
class _Chunk:
    """The noise of some steps."""

    first: int  # step
    steps: int
    begins: list[Any]  # the generators' states before it was drawn
    atoms: torch.Tensor  # [steps, N, 3]
    own: torch.Tensor  # [steps, B, k]

    @property
    def last(self) -> int:
        return self.first + self.steps - 1


class Noise:
    """Of the walkers of a batch, from the step where they are."""

    def __init__(self, integrator: Integrator, walkers: Sequence[MovingWalker], device: torch.device) -> None:
        self._integrator, self._walkers, self._device = integrator, list(walkers), device
        self._now: _Chunk | None = None
        self._next: _Chunk | None = None
        self._host: torch.Tensor | None = None  # of a CPU, which draws into the same memory again and again

    def prepare(self, step: int, end: int, interval: int) -> None:
        """Have the noise of this step, and of as many as the memory allows; none of steps beyond `end`.

        A chunk ends at a multiple of `interval` or at `end`.
        """
        if self._now is None or step > self._now.last:
            self._now, self._next = self._next or self._chunk(step, end, interval), None

    def draw_ahead(self, end: int, interval: int) -> None:
        """Draw the next chunk in time where the host does not wait for each step."""
        if interval > 1 and self._next is None and self._now is not None and self._now.last < end:
            self._next = self._chunk(self._now.last + 1, end, interval)

    def at(self, step: int) -> StepNoise:
        """The noise of a step that is prepared."""
        assert self._now is not None
        row = step - self._now.first
        return StepNoise(self._now.atoms.select(0, row), self._now.own.select(0, row))

    def settle(self, walker: MovingWalker) -> None:
        """Put the generator of a walker where it is after the walker's step."""
        if self._now is None or (walker.step == self._now.last and self._next is None):
            return
        walker.rng.bit_generator.state = self._now.begins[self._walkers.index(walker)]
        if walker.step >= self._now.first:
            self._draw(walker, walker.step - self._now.first + 1)

    def only(self, places: Sequence[int], atoms: torch.Tensor) -> None:
        """Go on with some of the walkers, by their places in the batch; `atoms` are the rows of their atoms."""
        import torch

        self._walkers = [self._walkers[i] for i in places]
        for chunk in filter(None, (self._now, self._next)):
            chunk.begins = [chunk.begins[i] for i in places]
            if chunk.atoms.numel():
                chunk.atoms = chunk.atoms.index_select(1, atoms)
            if chunk.own.numel():
                chunk.own = chunk.own.index_select(1, torch.tensor(places, device=self._device))

    def _chunk(self, step: int, end: int, interval: int) -> _Chunk:
        """The chunk that begins at a step."""
        import torch

        counts = [len(walker.start["symbols"]) for walker in self._walkers]
        last = step - 1 + max(1, BYTES // (8 * sum(3 * count + 1 for count in counts)))
        last = min(end, max(last // interval, (step - 1) // interval + 1) * interval)
        begins = [walker.rng.bit_generator.state for walker in self._walkers]
        atoms, own, at = None, [], 0
        for walker, count in zip(self._walkers, counts, strict=True):
            of_atoms, of_walker = self._draw(walker, last - step + 1)
            if of_atoms.size:
                if atoms is None:
                    atoms = self._memory((len(of_atoms), sum(counts), 3), interval)
                    rows = atoms.numpy()  # assigning to an array takes less time than to a tensor
                rows[:, at : at + count] = of_atoms
            own.append(torch.from_numpy(of_walker))
            at += count
        nothing = torch.zeros((last - step + 1, 0, 3), dtype=torch.float64)
        sent = [self._sent(nothing if atoms is None else atoms), self._sent(torch.stack(own, dim=1))]
        return _Chunk(step, last - step + 1, begins, *sent)

    def _memory(self, shape: tuple[int, int, int], interval: int) -> torch.Tensor:
        """Where a chunk is gathered: fresh memory would take as long as the numbers themselves."""
        import torch

        if self._device.type == "cuda":  # PyTorch keeps such memory, and takes it again when its copy is done
            return torch.empty(shape, dtype=torch.float64, pin_memory=True)
        if self._host is None or self._host.shape != shape or interval > 1:  # a chunk that is drawn ahead
            self._host = torch.empty(shape, dtype=torch.float64)
        return self._host

    def _draw(self, walker: MovingWalker, steps: int) -> Draws:
        return self._integrator.draw(walker.rng, steps, len(walker.start["symbols"]), walker.degrees_of_freedom)

    def _sent(self, numbers: torch.Tensor) -> torch.Tensor:
        pinned = numbers.pin_memory() if self._device.type == "cuda" else numbers  # only where it is not pinned yet
        return pinned.to(self._device, non_blocking=True)
