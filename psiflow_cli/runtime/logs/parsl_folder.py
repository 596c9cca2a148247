"""The folder in which Parsl and its blocks write: its name, and what ended invocations leave in it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from psiflow_cli.runtime.logs.archive import Archive
from psiflow_cli.worker.pool import temporary_folders

FILE = "ended.tar"
_STAYS = (FILE, "parsl.log")  # the user has asked for the second
_SECRET = ("certificates", ".password")
_OUTPUT = "submit_scripts"  # by Parsl's name; batch systems put the output of blocks beside their scripts
_LARGE = 1 << 26  # bytes; a log of that size stays where it is


def gather(folder: Path, *, blocks_may_end: bool = False) -> None:
    """Put the logs and scripts below Parsl's folder into its archive; call it when nothing reads them any more.

    The output of blocks that may still end has a place to come to: some batch systems deliver it only then.
    """
    archive = Archive(folder / FILE)
    with contextlib.suppress(OSError):
        for path in _files(folder):
            name, size = str(path.relative_to(folder)), path.stat().st_size
            if size >= _LARGE:
                continue
            if size and not any(word in name for word in _SECRET):
                archive.append([(name, path.read_bytes())])
            path.unlink()
    archive.close()
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not (blocks_may_end and path.name == _OUTPUT):
            with contextlib.suppress(OSError):  # it has files
                path.rmdir()


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
    with temporary_folders.temporary("psiflow", "/tmp") as elsewhere:
        link = Path(elsewhere) / "parsl"
        link.symlink_to(folder)
        yield link
