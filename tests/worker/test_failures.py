"""Failures, and what users' own references import them by."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from psiflow_cli.worker import failures, frames, guard
from psiflow_cli.worker.environment_faults import environment_fault
from psiflow_cli.worker.structures import conversion, labels, validity


def caused_by(error: BaseException) -> BaseException:
    """What a compiler of models raises in place of an error."""
    wrapped = RuntimeError("backend='inductor' raised")
    wrapped.__cause__ = error
    return wrapped


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
        "RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "RuntimeError: CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
        "cusolver error: CUSOLVER_STATUS_INTERNAL_ERROR, when calling `cusolverDnCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "CUDA driver error: CUDA_ERROR_OUT_OF_MEMORY",
        "HIPBLAS_STATUS_ALLOC_FAILED when calling `hipblasCreate(handle)`",
        "HIP out of memory. Tried to allocate 2.00 GiB",
        "hipErrorOutOfMemory",
        "XPU out of memory. Tried to allocate 4.00 GiB",
        "level_zero backend failed with error: 39 (UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY)",
        "Native API failed. Native API returns: -5 (PI_ERROR_OUT_OF_RESOURCES)",
        "MPS backend out of memory (MPS allocated: 17.00 GB)",
        "Invalid buffer size: 12.50 GiB",
        "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to",
        "Unable to allocate 12.4 GiB for an array with shape (40000, 40000)",
        MemoryError(),
        caused_by(RuntimeError("CUDA out of memory")),
    ],
)
def test_memory_that_ran_out(text: str | BaseException) -> None:
    assert failures.is_out_of_memory(text)


def test_other_complaints() -> None:
    assert not failures.is_out_of_memory("exited on signal 11 (Segmentation fault); memory usage 3 MB")
    assert not failures.is_out_of_memory(ValueError("memory"))


def test_a_compiled_model_that_says_nothing_leaves_it_to_the_allocators_count(monkeypatch: pytest.MonkeyPatch) -> None:
    refusals = iter([0, 3, 3, 4])
    cuda = SimpleNamespace(
        is_available=lambda: True, is_initialized=lambda: True, memory_stats=lambda: {"num_ooms": next(refusals)}
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    monkeypatch.setattr(failures, "_refusals", 0)
    error = RuntimeError("run_func_(container, inputs) API call failed at /torch/model_container_runner.cpp, line 145")
    assert [failures.is_out_of_memory(error) for _ in range(4)] == [False, True, False, True]


@pytest.mark.parametrize(
    "text",
    [
        "torch.AcceleratorError: CUDA error: an illegal memory access was encountered",
        "CUDA error: device-side assert triggered",
        "CUDA error: unspecified launch failure",
        "CUDA error: unknown error",
        "CUDA error: uncorrectable ECC error encountered",
        "CUDA error: misaligned address",
        "CUDA error: the launch timed out and was terminated",
        "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm( handle, opa, opb)`",
        "Triton Error [CUDA]: an illegal memory access was encountered",
        "CUDA driver error: CUDA_ERROR_LAUNCH_FAILED",
        "NVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus.",
        "HIP error: an illegal memory access was encountered",
        "hipErrorLaunchFailure",
        caused_by(RuntimeError("CUDA error: device-side assert triggered")),
    ],
)
def test_a_gpu_that_computes_nothing_more_ends_the_process(text: str | BaseException) -> None:
    assert failures.is_broken_device(text)
    error = text if isinstance(text, BaseException) else RuntimeError(text)
    assert isinstance(environment_fault(error), failures.BrokenDevice)


def test_a_gpu_that_only_lacks_memory_or_is_not_there_is_not_broken() -> None:
    for text in ("CUDA out of memory", "CUDA error: out of memory", "no CUDA GPUs are available", "a bad frame"):
        assert not failures.is_broken_device(RuntimeError(text))


def test_the_former_places() -> None:
    assert guard.failure is failures.failure
    assert guard.Fatal is failures.Fatal
    assert (frames.atoms, frames.invalid, frames.label) == (conversion.to_ase, validity.invalid, labels.label)
