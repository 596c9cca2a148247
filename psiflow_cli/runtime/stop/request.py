"""A request to stop, left in the run directory for a holder that no signal reaches: it is on another host.

The holder of the lock makes the file, empty, and opens it again at every heartbeat: on NFS a file that is there is seen
again whenever it is opened, while one that appears may be missed for a minute. A request names whom it is for, so that
one that came too late stops nobody else. It reaches a holder in a SLURM job as well, and nothing else in that job:
`scancel --signal` ends the script that has started it (--full), or that alone, and SLURM then kills the rest (--batch).
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from psiflow_cli.runtime.jsonfile import read_json

if TYPE_CHECKING:
    from psiflow_cli.messages import Holder

FILE = "cancel"
_IDENTITY = ("host", "pid", "started")


def prepare(folder: Path) -> None:
    """Be ready for requests; those to an earlier holder are removed."""
    with contextlib.suppress(OSError):  # a run without it is only harder to stop
        os.close(os.open(folder / FILE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600))


def ask(folder: Path, holder: Holder) -> None:
    """Ask this holder of the run's lock to stop in order; raises OSError where the folder cannot be written."""
    text = json.dumps(
        {"for": _identity(holder), "by": _identity({"host": os.uname().nodename, "pid": os.getpid()}), "t": time.time()}
    )
    fd = os.open(folder / FILE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


def is_for(folder: Path, holder: Holder) -> bool:
    """Whether this holder was asked to stop."""
    return bool(read_json(folder / FILE).get("for") == _identity(holder))


def _identity(holder: Holder) -> dict[str, object]:
    return {key: holder.get(key) for key in _IDENTITY}
