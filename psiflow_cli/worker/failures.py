"""The classes of failed frames, and the failures that end a worker process or a whole run."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING

from psiflow_cli.errors import BAD_CONFIG, NO_RESOURCES

if TYPE_CHECKING:
    from psiflow_cli.messages import Failure, FailureClass

FAILURES: tuple[FailureClass, ...] = (
    "unconverged",
    "crashed",
    "timeout",
    "out-of-memory",
    "inconsistent",
    "invalid-input",
    "worker-lost",
)
MACHINE_FAILURES: tuple[FailureClass, ...] = ("worker-lost", "timeout", "out-of-memory")
"""Failures that are the machine's fault, not the frame's: the next run tries them again."""
AGAIN = "fix it and run the same command again: no frame is marked as failed"

_OUT_OF_MEMORY = re.compile(
    # the host
    r"out of memory|oom[-_ ]kill|can(?:no|')t allocate memory|error allocating|allocation would exceed memory|"
    r"insufficient (?:virtual )?memory|not enough memory|std::bad_alloc|MemoryError|exited on signal 9\b|"
    r"unable to allocate [\d.]+ \wi?B\b|\bENOMEM\b|"
    # GPUs: OutOfMemoryError, cudaErrorMemoryAllocation, CUDA_ERROR_OUT_OF_MEMORY, UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY
    r"out_?of_?(?:host_?|device_?)?memory|cudaErrorMemoryAllocation|rocblas_status_memory_error|"
    r"(?:PI|UR_RESULT|ZE_RESULT)_ERROR_OUT_OF_RESOURCES|Invalid buffer size: [\d.]+ \wi?B|"
    # their libraries, which also need memory when they begin
    r"_?ALLOC_?FAILED\b|cusparse_status_insufficient_resources|"
    r"(?:NOT_INITIALIZED|INTERNAL_ERROR)\W+when calling .?(?:cu|hip|roc)(?:blas|solver|sparse|dnn)\w*create",
    re.IGNORECASE,
)
_WITHOUT_A_REASON = re.compile(r"API call failed at \S")
"""All that a compiled model says with older releases of torch: AOTInductor's reason goes to stderr."""
_BROKEN_DEVICE = re.compile(
    r"illegal memory access|illegal instruction was encountered|misaligned address|device[- ]side assert|"
    r"unspecified launch failure|the launch timed out and was terminated|invalid program counter|hardware stack error|"
    r"uncorrectable (?:\w+ )?ECC|ECC error|uncorrectable NVLink|fallen off the bus|GPU (?:is )?lost\b|\bXid\b|"
    r"(?:CUDA|HIP)(?: driver)? error: unknown error|"
    r"invalid device context|context is destroyed|"
    r"cudaError(?:IllegalAddress|LaunchFailure|LaunchTimeout|Assert|ECCUncorrectable|HardwareStackError|Unknown\b|"
    r"IllegalInstruction|MisalignedAddress|InvalidPc|NvlinkUncorrectable|ContextIsDestroyed)|"
    r"CUDA_ERROR_(?:ILLEGAL_\w+|LAUNCH_FAILED|LAUNCH_TIMEOUT|ASSERT|ECC_UNCORRECTABLE|HARDWARE_STACK_ERROR|UNKNOWN|"
    r"MISALIGNED_ADDRESS|INVALID_PC|NVLINK_UNCORRECTABLE|CONTEXT_IS_DESTROYED)|"
    r"hipError(?:IllegalAddress|LaunchFailure|LaunchTimeOut|Assert|ECCNotCorrectable|Unknown\b)|"
    r"(?:CUBLAS|CUDNN|CUSOLVER|CUSPARSE|HIPBLAS)_STATUS_EXECUTION_FAILED|CUFFT_EXEC_FAILED|"
    r"Memory access fault by GPU|HSA_STATUS_ERROR_\w+|UR_RESULT_ERROR_DEVICE_LOST|ZE_RESULT_ERROR_DEVICE_LOST",
    re.IGNORECASE,
)
"""After these the process computes nothing more on its GPU; seen in CUDA 12 and 13, and ROCm 6."""
_MISSING = re.compile(
    # Python packages
    r"\b(?:ImportError|ModuleNotFoundError|PackageNotFoundError)\b|No module named \S|cannot import name \S|"
    r"extension unimportable|numpy\.dtype size changed|compiled against (?:ABI|API) version|"
    r"module '[\w.]+' has no attribute|"
    # libraries and executables
    r"cannot open shared object file|error while loading shared libraries|undefined symbol: \S|"
    r"\.so[.\d]*: file too short|"
    r"version .\w*GLIBC\w*_[\d.]+. not found|(?:wrong ELF class|invalid ELF header)|failed to map segment from shared|"
    r"Library not loaded: |Exec format error|cannot execute binary file|command not found|"
    r"executable file not found|(?:exit|return|error)\w*(?: \w+)? (?:status|code):? (?:126|127)\b|"
    # data that comes with a code
    r"Could not find required .{0,20}file|\b(?:PSIDATADIR|GPAW_SETUP_PATH|XTBPATH|CP2K_DATA_DIR)\b|"
    # GPUs
    r"Torch not compiled with CUDA|No CUDA device available|Found no NVIDIA driver|"
    r"No (?:CUDA|HIP) GPUs are available|no CUDA-capable device|"
    r"CUDA driver (?:version is insufficient|initialization failed)|torch\.cuda\.is_available\(\) is False|"
    r"no kernel image is available|CUDA unknown error|unsupported display driver|CUDA.{0,40}\bnot available|"
    r"invalid device ordinal|Unable to initialize backend '(?:cuda|rocm|gpu)'",
    re.IGNORECASE,
)
_LIBRARY = re.compile(
    r"\b(lib(?!cu(?!rl\b)|nv|nccl)[\w+-]+)\.so\.(\d+)[.\d]*: cannot open shared object file"
)  # no driver's
_UNAVAILABLE = re.compile(
    r"No space left on device|Disk quota exceeded|Read-only file system|Too many open files|Stale (?:NFS )?file handle|"
    r"Input/output error|CUDA-capable device(?:s are|\(s\) is/are|s) (?:all )?busy|uncorrectable ECC|"
    r"\bFlex(?:lm|net)\b|\b(?:no|invalid|expired|missing|without)(?: \w+)? licen[cs]es?\b|"
    r"(?:could not|cannot|can't|did not|failed to|unable to)(?: \w+){1,4} licen[cs]es?\b|"
    r"\blicen[cs]es? (?:server|manager|daemon|check\w*|key|denied|error|problem|has|is not|not|expired|cannot)\b",
    re.IGNORECASE,
)


class Fatal(Exception):
    """Nothing in this run can work (no such executable, a wrong keyword): ends the stage with `exit_code`."""

    def __init__(self, message: str, hint: str = "", exit_code: int = BAD_CONFIG) -> None:
        super().__init__(message)
        self.message, self.hint, self.exit_code = message, hint, exit_code


class BrokenDevice(Fatal):
    """The GPU of this process computes nothing more: ends the process, and the task is tried on another."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "run the same command again: no frame is marked as failed", NO_RESOURCES)


def failure(kind: FailureClass, message: str, log: str = "") -> Failure:
    """A failed frame as it crosses the wire; raises Fatal where a crash is the environment's fault, and no frame's."""
    if kind not in FAILURES:
        raise ValueError(f"unknown failure class {kind!r}")
    message = " ".join(message.split())
    if kind == "crashed" and (code := environment_code(message)):
        raise Fatal(message[:500], f"{again(message)}{f'; the log is {log}' if log else ''}", code)
    return {"failure": kind, "message": message[:500], "log": log}


def missing_library(message: str) -> str:
    """Debian's package of the shared library that a message misses, by Debian's own rule for names; or ""."""
    if not (missing := _LIBRARY.search(message)):
        return ""
    name, version = missing[1].lower().replace("_", "-"), missing[2]
    return f"{name}{'-' if name[-1].isdigit() else ''}{version}"


def again(message: str) -> str:
    """The hint for a fault of the environment."""
    package = missing_library(message)
    return f"{AGAIN}; on Debian and Ubuntu: apt install {package}" if package else AGAIN


def is_out_of_memory(error: BaseException | str) -> bool:
    """Whether an exception, or what a program printed, says that memory ran out: of the host or of a GPU.

    An exception counts whatever it was wrapped in.
    """
    if isinstance(error, str):
        return bool(_OUT_OF_MEMORY.search(error))
    return any(isinstance(each, MemoryError) or _says_out_of_memory(each) for each in causes(error))


def _says_out_of_memory(error: BaseException) -> bool:
    text = f"{type(error).__name__}: {error}"
    if _OUT_OF_MEMORY.search(text):
        return True
    return bool(_WITHOUT_A_REASON.search(text)) and _allocator_refused()


_refusals = 0  # of torch's allocator for GPUs, as far as they have been asked about


def _allocator_refused() -> bool:
    """Whether torch has refused memory of a GPU since the last call, by its own count."""
    global _refusals
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return False
    before, _refusals = _refusals, torch.cuda.memory_stats().get("num_ooms", 0)
    return bool(_refusals > before)


def is_broken_device(error: BaseException | str) -> bool:
    """Whether an exception, or what a program printed, says that its GPU computes nothing more in that process."""
    if is_out_of_memory(error):
        return False
    texts = [error] if isinstance(error, str) else [f"{type(each).__name__}: {each}" for each in causes(error)]
    return any(map(_BROKEN_DEVICE.search, texts))


def causes(error: BaseException) -> Iterator[BaseException]:
    """An exception, and what it was raised for, the last first."""
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        earlier = each.__context__
        each = each.__cause__ or (earlier if earlier and _raised_in_handler(each, earlier) else None)


def _raised_in_handler(error: BaseException, earlier: BaseException) -> bool:
    """Whether it was raised in the very `except` that caught the earlier one, and not by what was done instead."""
    trace, caught = traces(error), traces(earlier)
    return bool(trace and caught) and trace[-1].tb_frame is caught[0].tb_frame


def traces(error: BaseException) -> list[TracebackType]:
    """The entries of a traceback, the place where it was raised last."""
    entries, entry = [], error.__traceback__
    while entry is not None:
        entries.append(entry)
        entry = entry.tb_next
    return entries


def environment_code(message: str) -> int:
    """The exit code of a run that ends with a message about what is missing where the workers run; 0 for another."""
    if is_out_of_memory(message):
        return 0
    if _UNAVAILABLE.search(message):
        return NO_RESOURCES
    return BAD_CONFIG if _MISSING.search(message) else 0
