"""Files to the far end and back, by the user's `rsync` over their `ssh`."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from psiflow_cli.errors import IO_ERROR, BadConfig, NoResources, PsiflowError
from psiflow_cli.remote import ssh

# --checksum: a file that was changed within a second, at the same size, must not be taken for the old one
_USUAL = ("-rLtOE", "--checksum", "--partial-dir=.rsync-partial", "--from0", "--files-from=-")
_PLAIN = re.compile(r"[A-Za-z0-9_./@%+=:,-]+")


def send(host: str, mirror: str, paths: Sequence[str]) -> None:
    """Bring files and folders, by their absolute paths, below the mirror; a folder has then nothing else in it."""
    # what the far end has added to a model stays there
    only_sent = ("--delete", "--exclude=compiled/", "--exclude=calibration.json.*")
    _run([*_USUAL, *only_sent, "/", f"{host}:{mirror}/"], host, paths)


def send_as(host: str, path: Path, name: str) -> None:
    """Bring one file to another name."""
    _run(["-t", "--checksum", str(path), f"{host}:{name}"], host, ())


def fetch(host: str, mirror: str, paths: Sequence[str], folder: Path) -> None:
    """Bring files and folders, by their paths below the mirror, below a folder here."""
    _run([*_USUAL, f"{host}:{mirror}/", f"{folder}/"], host, paths)


def _run(arguments: list[str], host: str, paths: Sequence[str]) -> None:
    """Raises BadConfig without rsync, NoResources without a connection."""
    protect = [] if all(_PLAIN.fullmatch(each) for each in arguments) else ["--protect-args"]
    command = ["rsync", *protect, "-e", shlex.join(["ssh", *ssh.options()]), *arguments]
    listed = b"".join(os.fsencode(path) + b"\0" for path in paths)
    # a file: a connection that ssh leaves behind for others (ControlPersist) would keep a pipe open
    with tempfile.TemporaryFile() as errors:
        try:
            done = subprocess.run(command, input=listed, stdout=subprocess.DEVNULL, stderr=errors, check=False)
        except FileNotFoundError:
            raise BadConfig("rsync is not installed here", "a site with [remote] needs ssh and rsync") from None
        if done.returncode == 0:
            return
        errors.seek(0)
        complaint = "; ".join(errors.read().decode(errors="replace").strip().splitlines()[-4:])
    if re.search(r"rsync: (command )?not found|rsync: No such file", complaint):
        raise BadConfig(f"{host}: rsync is not installed there", "a site with [remote] needs rsync at both ends")
    if re.search(r"No space left|quota", complaint, re.IGNORECASE):
        raise PsiflowError(
            f"rsync {host}: {complaint}", "free some disk space and run the same command again", IO_ERROR
        )
    raise NoResources(f"rsync {host}: {complaint}", "nothing is lost: run the same command again")
