"""The classes of failed frames, and the failures that end a whole run."""

from __future__ import annotations

import re
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
AGAIN = "fix it and run the same command again: no frame is blamed for it"

_OUT_OF_MEMORY = re.compile(
    r"out of memory|oom[-_ ]kill|can(?:no|')t allocate memory|error allocating|allocation would exceed memory|"
    r"insufficient (?:virtual )?memory|not enough memory|std::bad_alloc|MemoryError|exited on signal 9\b",
    re.IGNORECASE,
)
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
    """Whether an exception, or what a program printed, says that memory ran out: of the host or of a GPU."""
    return isinstance(error, MemoryError) or bool(_OUT_OF_MEMORY.search(str(error)))


def environment_code(message: str) -> int:
    """The exit code of a run that ends with a message about what is missing where the workers run; 0 for another."""
    if is_out_of_memory(message):
        return 0
    if _UNAVAILABLE.search(message):
        return NO_RESOURCES
    return BAD_CONFIG if _MISSING.search(message) else 0
