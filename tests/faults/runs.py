"""Runs of `psiflow label` to be killed: what they have finished, begun, and left running."""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from pathlib import Path

from tests.commands.inputs import copper

FAULTY = Path(__file__).with_name("faulty.py")
SITE = """
[providers.here]
[resources.task]
{resources}
[executors.default]
type = "{executor}"
provider = "here"
resources = "task"
{more}
[use]
default = "default"
"""


def site(executor="htex", resources="", more=""):
    """Write a site file; `threads` starts at once, `htex` has worker processes that can die."""
    Path("site.toml").write_text(SITE.format(executor=executor, resources=resources, more=more))


def arguments(output, *more, frames="in.xyz", reference=FAULTY):
    """The command line of a run."""
    return ("label", frames, "--reference", str(reference), "--site", "./site.toml", "-o", output, *more)


def at(x):
    """A frame of copper whose first atom is at this x."""
    return copper(1).replace("Cu 0.0 0.0 0.0", f"Cu {x} 0.0 0.0")


def records(output):
    """The whole records of a run's journal."""
    found = []
    path = Path(f"{output}.run/journal.jsonl")
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            found.append(json.loads(line))
        except ValueError:
            continue  # torn by the kill
    return found


def finished(output):
    """How often each frame has finished."""
    return Counter(record["id"] for record in records(output) if record["kind"] == "unit")


def begun(output):
    """How often a worker has begun with each frame."""
    path = Path(f"{output}.run/logs/begun")
    return Counter(path.read_text().split() if path.exists() else ())


def wait_for(condition, seconds, what):
    """Wait until it holds, no longer than so many seconds; returns how long it took."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < seconds, what
        time.sleep(0.02)
    return time.monotonic() - start


def processes(marker):
    """(process id, start) of every process that has the marker in its command line."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        if int(entry.name) != os.getpid():
            try:
                if marker.encode() in (entry / "cmdline").read_bytes():
                    found.add((int(entry.name), (entry / "stat").read_text().rpartition(")")[2].split()[19]))
            except OSError:
                continue
    return found


class Watcher:
    """Context manager: reads a file whenever it changes, and keeps what was not one of its `good` contents."""

    def __init__(self, path, good):
        self._path, self._good = Path(path), good
        self.seen, self.partial = 0, []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def _watch(self):
        last = None
        while not self._stop.is_set():
            try:
                with self._path.open("rb") as stream:
                    facts = os.fstat(stream.fileno())
                    now = (facts.st_ino, facts.st_mtime_ns, facts.st_size)
                    if now != last:
                        contents = stream.read()
                        self.seen += 1
                        if contents not in self._good:
                            self.partial.append(contents)
                    last = now
            except FileNotFoundError:
                last = None
            time.sleep(0.0005)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()
