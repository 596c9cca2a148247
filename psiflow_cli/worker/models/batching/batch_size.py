"""How much a model computes at once: what is fastest on a CPU, what fits into the memory of a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

FASTEST = 4096
"""Pairs of neighbours, and atoms, of a batch on a CPU; more are slower, since they leave its caches (MACE, float64)."""
_MOST = 1_000_000
"""A GPU is busy with so many."""
_SHARE = 0.8  # of the free memory: what the rest of a batch needs is not known exactly
_GROWTH = 8  # a batch is at most so many times larger than the largest before it, whose memory was measured


class BatchSize:
    """Of one model on one device, for the life of the worker.

    The memory of a batch grows with its pairs of neighbours, which are atoms times density, and its atoms; how much one
    takes is measured.
    """

    def __init__(self, device: str) -> None:
        self.most = FASTEST
        """Of pairs and atoms together."""
        self._device = device
        self._fixed = device == "cpu"
        self._measured = 0  # the largest batch
        self._in_pieces = False  # torch's reserve, after a batch that did not fit

    @contextmanager
    def measured(self, size: int) -> Iterator[None]:
        """Around the computation of a batch: let the next be as large as the memory allows."""
        if self._in_pieces:
            self._in_pieces = False
            _release()
        if self._fixed or size <= self._measured:
            yield
            return
        before = _allocated(reset=True)
        yield
        self.learn(size, _allocated(reset=False) - before, _free())

    def learn(self, size: int, used: int, free: int) -> None:
        """Note what memory a batch of this size used at most, and how much is free without it (bytes)."""
        if self._fixed or size <= self._measured:
            return
        self._measured = size
        fits = int(_SHARE * free * size / max(used, 1))
        self.most = max(1, min(fits, _GROWTH * size, _MOST))

    def was_too_large(self, size: int) -> None:
        """Note that a batch of this size did not fit: no other will be larger than half of it."""
        self.most, self._fixed = max(1, min(self.most, size // 2)), True
        self._in_pieces = self._device != "cpu"


def _release() -> None:
    """Give back what torch has reserved, and no tensor is in."""
    import torch

    torch.cuda.empty_cache()


def _allocated(reset: bool) -> int:
    """What all tensors took at most since the last reset (bytes)."""
    import torch

    if reset:
        torch.cuda.reset_peak_memory_stats()
    return torch.cuda.max_memory_allocated()


def _free() -> int:
    """What other processes, and the tensors of this one, leave of the memory (bytes)."""
    import torch

    free, _ = torch.cuda.mem_get_info()
    return int(free + torch.cuda.memory_reserved() - torch.cuda.memory_allocated())
