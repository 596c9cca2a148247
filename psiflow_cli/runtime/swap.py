"""Two files or folders change places in one step, so that a reader finds the one or the other, never nothing.

A folder cannot be renamed onto another; Linux has a call that exchanges two names (`renameat2` with RENAME_EXCHANGE).
Where the kernel or the file system lacks it (NFS, some parallel ones), the name is away for the time of two renames.
"""

from __future__ import annotations

import ctypes
import os
import tempfile
from pathlib import Path

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def swap_paths(first: Path, second: Path) -> None:
    """Let two paths of one file system change places."""
    if not _by_the_kernel(first, second):
        in_turns(first, second)


def _by_the_kernel(first: Path, second: Path) -> bool:
    """Whether the kernel could do it; what it refuses for another reason, renaming will say."""
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        return False
    done = call(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), ctypes.c_uint(_RENAME_EXCHANGE))
    return int(done) == 0


def in_turns(first: Path, second: Path) -> None:
    """The same by three renames; `second` is missing between two of them."""
    aside = Path(tempfile.mkdtemp(prefix=f".{second.name}.", dir=second.absolute().parent))
    try:
        os.rename(second, aside / second.name)
        os.rename(first, second)
        os.rename(aside / second.name, first)
    finally:
        if not os.listdir(aside):
            os.rmdir(aside)
