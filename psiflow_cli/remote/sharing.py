"""One connection for all that a command does, so that ssh asks for a passphrase or a second factor only once.

The first `ssh` of a command is the master, see ControlMaster in ssh_config(5), unless the user's configuration already
says how connections are shared.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator

_PATIENCE_S = 10.0
_PLACE = "/tmp"  # the socket's path may have 107 bytes only
_options: list[str] = []


def options() -> list[str]:
    """What an `ssh` needs to share the command's connection."""
    return list(_options)


@contextlib.contextmanager
def shared(host: str) -> Iterator[None]:
    """Let every `ssh` to this host in the block share one connection."""
    with contextlib.ExitStack() as stack:
        if not _users_own(host):
            with contextlib.suppress(OSError):
                folder = stack.enter_context(
                    tempfile.TemporaryDirectory(prefix="psiflow-ssh-", dir=_PLACE, ignore_cleanup_errors=True)
                )
                socket = os.path.join(folder, "%C")
                _options[:] = ["-o", "ControlMaster=auto", "-o", f"ControlPath={socket}", "-o", "ControlPersist=no"]
                stack.callback(_options.clear)
        yield


def _users_own(host: str) -> bool:
    """Whether the user's configuration says something about sharing; also where ssh cannot tell."""
    try:
        done = subprocess.run(["ssh", "-G", host], capture_output=True, text=True, timeout=_PATIENCE_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return True
    says = dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)
    return done.returncode != 0 or says.get("controlmaster", "false") != "false" or "controlpath" in says
