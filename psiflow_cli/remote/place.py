"""Puts what was fetched in its place here, each file or folder whole, and never over what psiflow did not write."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from psiflow_cli import atomic_file
from psiflow_cli.errors import CannotCreate
from psiflow_cli.runtime import rundir
from psiflow_cli.runtime.jsonfile import read_run
from psiflow_cli.runtime.request import sha256
from psiflow_cli.runtime.swap import swap_paths


def written_checksums(folder: Path, outputs: Mapping[str, Sequence[str]]) -> set[str]:
    """The checksums of what psiflow has written: as remote.json has it, and an earlier run of this machine."""
    result = read_run(folder).get("result")
    return {*itertools.chain.from_iterable(outputs.values()), *(result["outputs"].values() if result else ())}


def refuse_foreign(outputs: Iterable[str], written: set[str]) -> None:
    """Raise CannotCreate for an output that psiflow did not write, that was edited since, or has no folder."""
    for output in outputs:
        if not os.path.isdir(parent := os.path.dirname(os.path.abspath(output))):
            raise CannotCreate(f"{output}: the folder {parent} does not exist", "create it, or choose another --output")
        if os.path.lexists(output) and sha256(Path(output)) not in written:
            problem = f"{output}: exists, and is not (or no longer) what psiflow wrote there"
            raise CannotCreate(problem, "replace it with --overwrite, or choose another --output")


def put(fetched: Path, final: Path) -> None:
    """Move a fetched file or folder to its place in one step."""
    temporary = rundir.temporary(final, "remote")
    _remove(temporary)
    shutil.move(fetched, temporary)
    rundir.give_user_mode(temporary)
    if temporary.is_dir() and final.exists():
        swap_paths(temporary, final)
        shutil.rmtree(temporary)
    else:
        os.replace(temporary, final)


def keep_run(fetched: Path, folder: Path, with_local_paths: Callable[[str], str]) -> None:
    """What `status` and `report` read of a run, with the paths that its files have here."""
    if (run := fetched / "run.json").exists():
        atomic_file.write(folder / "run.json", with_local_paths(run.read_text(encoding="utf-8")))
    if (journal := fetched / "journal.jsonl").exists():
        os.replace(journal, folder / "journal.jsonl")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
