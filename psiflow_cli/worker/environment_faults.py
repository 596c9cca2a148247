"""Which exceptions are the fault of the environment that a worker runs in, and of no frame."""

from __future__ import annotations

import errno
import os
import sys
from types import ModuleType

from psiflow_cli.errors import BAD_CONFIG, NO_RESOURCES
from psiflow_cli.worker.failures import (
    BrokenDevice,
    Fatal,
    again,
    causes,
    environment_code,
    is_broken_device,
    is_out_of_memory,
    traces,
)

_UNAVAILABLE = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.EIO, errno.ESTALE),
)  # fmt: skip
_LONGEST = 300


def environment_fault(error: BaseException) -> Fatal | None:
    """What ends the run, or this process, where an exception is the environment's fault; None for a frame's.

    It counts whatever it was wrapped in: a package's own exception says less than the library that is missing.
    """
    if is_out_of_memory(error):
        return None
    if is_broken_device(error):
        return BrokenDevice(f"{type(error).__name__}: {' '.join(str(error).split())[:_LONGEST]}")
    code = next(filter(None, map(_code, causes(error))), 0)
    if not code:
        return None
    description = _description(error)
    return Fatal(f"{sys.executable} on host {os.uname().nodename}: {description}", again(description), code)


def _code(error: BaseException) -> int:
    """The exit code of a run that ends with this exception; 0 if it need not end.

    No frame has a part in what happens while a module is imported.
    """
    if isinstance(error, OSError) and error.errno in _UNAVAILABLE:
        return NO_RESOURCES
    if code := environment_code(f"{type(error).__name__}: {error}"):
        return code
    missing = (
        isinstance(error, ImportError)
        or (isinstance(error, SyntaxError) and str(error.filename).endswith(".py"))  # of another Python
        or (isinstance(error, AttributeError) and isinstance(error.obj, ModuleType))  # of another version
        or (isinstance(error, OSError) and _of_a_program(error))
        or _imported(error)
    )
    return BAD_CONFIG if missing else 0


def _of_a_program(error: OSError) -> bool:
    """Whether it says that a program could not be started."""
    return [entry.tb_frame.f_code.co_name for entry in traces(error)][-1:] == ["_execute_child"]


def _imported(error: BaseException) -> str:
    """`FILE:LINE` of the module that was being imported when an exception was raised, or ""."""
    places = [
        f"{entry.tb_frame.f_code.co_filename}:{entry.tb_lineno}"
        for entry in traces(error)
        if entry.tb_frame.f_code.co_name == "<module>"
        and entry.tb_frame.f_globals.get("__spec__")  # and not a text that is run as a program
        and entry.tb_frame.f_globals.get("__file__") == entry.tb_frame.f_code.co_filename
    ]
    return places[-1] if places else ""


def _description(error: BaseException) -> str:
    """The first cause, then what it was made into, each once and on one line."""
    chain = [error]
    while (earlier := chain[-1].__cause__ or chain[-1].__context__) and earlier not in chain:
        chain.append(earlier)
    first, *later = dict.fromkeys(_text(each) for each in reversed(chain) if _code(each) or each is error)
    return f"{first} ({later[-1][:120]})" if later else first


def _text(error: BaseException) -> str:
    place = "" if isinstance(error, ImportError) else _imported(error)
    text = f"{type(error).__name__}: {' '.join(str(error).split())[:_LONGEST]}"
    return f"{place}: {text}" if place else text
