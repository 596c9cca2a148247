"""The folder in which Parsl and its blocks write: its name, and what ended invocations leave in it."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from psiflow_cli.runtime.logs.archive import Archive

FILE = "ended.tar"
_STAYS = (FILE, "parsl.log")  # the user has asked for the second
_SECRET = ("certificates", ".password")
_LARGE = 1 << 26  # bytes; a log of that size stays where it is


def gather(folder: Path) -> None:
    """Put the logs and scripts below Parsl's folder into its archive; call it when no block uses them any more."""
    archive = Archive(folder / FILE)
    with contextlib.suppress(OSError):
        for path in _files(folder):
            if 0 < path.stat().st_size < _LARGE and not any(word in str(path) for word in _SECRET):
                archive.append([(str(path.relative_to(folder)), path.read_bytes())])
            if path.stat().st_size < _LARGE:
                path.unlink()
        for place in folder.iterdir() if folder.exists() else ():
            if place.is_dir() and not any(files for _, _, files in os.walk(place)):
                shutil.rmtree(place, ignore_errors=True)
    archive.close()


def _files(folder: Path) -> Iterator[Path]:
    """Regular files in the order of their names, less those that stay."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink() and path.name not in _STAYS:
            yield path


@contextlib.contextmanager
def shell_safe(folder: Path) -> Iterator[Path]:
    """`folder`, made, under a name that needs no quoting: Parsl pastes it into shell scripts."""
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if re.fullmatch(r"[A-Za-z0-9_./+,=@:%-]+", str(folder)):
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="psiflow-", dir="/tmp") as elsewhere:
        link = Path(elsewhere) / "parsl"
        link.symlink_to(folder)
        yield link
