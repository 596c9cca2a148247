"""What the script of a block has said: the nodes it ran on, and its last words."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator
from pathlib import Path

from psiflow_cli.runtime import parsl_internals

_MARK = "psiflow: this block runs on "
_NODES = '${SLURM_JOB_NODELIST:-$(sort -u "${PBS_NODEFILE:-/proc/sys/kernel/hostname}" | xargs)}'
ANNOUNCE = f'echo "{_MARK}{_NODES}"\n'
"""The first line of a block's script: a block that dies at once is in no other list."""
_CHATTER = re.compile(r"psiflow: |Found (cores|nodes) : |Launching worker: |All workers done|Done$")
_LOOK_AT = 1 << 16  # bytes, at each end


def nodes(folder: Path, label: str, block: str) -> str:
    """The nodes of a block, as its script has named them; "" if it did not get that far."""
    for path in _files(folder, label, block, "out"):
        head = _read(path, from_end=False)
        if match := re.search(rf"^{_MARK}(.+)$", head, re.MULTILINE):
            return match[1].strip()
    return ""


def last_words(folder: Path, label: str, block: str) -> str:
    """The last line of its errors, else of what it printed; "" where there is none."""
    for suffix in ("err", "out"):
        for path in _files(folder, label, block, suffix):
            lines = [line.strip() for line in _read(path, from_end=True).splitlines()]
            telling = [line for line in lines if line and not _CHATTER.match(line)]
            if telling:
                return telling[-1][:300]
    return ""


def last_complaint(message: str | None) -> str:
    """The last line of what Parsl says of a block that ended, less what it says of each that never connected."""
    lines = (message or "").strip().splitlines()
    return "" if not lines or "marked as MISSING" in lines[-1] else lines[-1].strip()[:300]


def last_error(folder: Path, text: str) -> str:
    """The last line of the errors of any block, else of `text`."""
    errors = sorted(folder.glob(parsl_internals.BLOCK_STDERR))
    stderr = errors[-1].read_text(errors="replace").strip() if errors else ""
    last = (stderr or text.strip() or "no reason given").splitlines()[-1]
    return last.strip().removeprefix("STDERR: ")[:300]


def _files(folder: Path, label: str, block: str, suffix: str) -> Iterator[Path]:
    """By Parsl's names of a block's script, which the batch system's file names begin with."""
    yield from sorted(folder.glob(f"*/submit_scripts/*.{glob.escape(label)}.block-{block}.*{suffix}"))


def _read(path: Path, *, from_end: bool) -> str:
    try:
        with path.open("rb") as file:
            if from_end:
                file.seek(max(0, path.stat().st_size - _LOOK_AT))
            return file.read(_LOOK_AT).decode(errors="replace")
    except OSError:
        return ""


def names(text: str) -> list[str]:
    """The nodes of a list in SLURM's short form (`n[1-3,7],gpu01`) or with blanks, one by one."""
    expanded: list[str] = []
    for part in re.findall(r"(?:[^\s,\[]|\[[^\]]*\])+", text):
        match = re.fullmatch(r"([^\[]*)\[([^\]]*)\](.*)", part)
        if match is None:
            expanded.append(part)
            continue
        head, ranges, tail = match.groups()
        for piece in ranges.split(","):
            first, _, last = piece.partition("-")
            if not (first.isdigit() and (last or first).isdigit()):
                return [text]
            numbers = range(int(first), int(last or first) + 1)
            expanded += [f"{head}{number:0{len(first)}d}{tail}" for number in numbers]
    return [name for part in expanded for name in (names(part) if "[" in part else [part])]
