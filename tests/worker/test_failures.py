"""Failures, and what users' own references import them by."""

from __future__ import annotations

import pytest

from psiflow_cli.worker import failures, frames, guard
from psiflow_cli.worker.structures import conversion, labels, validity


@pytest.mark.parametrize(
    "text",
    [
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB",
        "RuntimeError: DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes",
        "DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes",
        "fork: Cannot allocate memory",
        "forrtl: severe (41): insufficient virtual memory",
        "Error allocating 80000000 bytes",
        "terminate called after throwing an instance of 'std::bad_alloc'",
        "Allocation would exceed memory limit",
        "mpirun noticed that process rank 0 exited on signal 9 (Killed).",
        "slurmstepd: error: Detected 1 oom_kill event",
        MemoryError(),
    ],
)
def test_memory_that_ran_out(text: str | BaseException) -> None:
    assert failures.is_out_of_memory(text)


def test_other_complaints() -> None:
    assert not failures.is_out_of_memory("exited on signal 11 (Segmentation fault); memory usage 3 MB")
    assert not failures.is_out_of_memory(ValueError("memory"))


def test_the_former_places() -> None:
    assert guard.failure is failures.failure
    assert guard.Fatal is failures.Fatal
    assert (frames.atoms, frames.invalid, frames.label) == (conversion.to_ase, validity.invalid, labels.label)
