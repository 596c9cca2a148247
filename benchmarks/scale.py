"""P13: one command and many nodes.

    python benchmarks/scale.py NODES [--seconds 5] [--rounds 12] [--emulate]

By default the nodes are simulated: stand-ins of SLURM's programs take the blocks' scripts, and `dispatcher.py` connects
a pool of two workers for each, which answers a task after a while. All else is real: the command, Parsl's interchange,
the journal. With --emulate there is a real SLURM with real workers, on this host: 64 nodes take about 7 GB.
Processor time is printed besides busy workers: the command and the interchange each have one core at most.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import water
from pairs import record

WORKERS = 2
PORT = 19000
SITE = """
[providers.queue]
type = "slurm"
cores_per_node = {workers}
init_blocks = {nodes}
max_blocks = {nodes}
walltime = "10:00:00"

[resources.task]
cores = 1

[executors.default]
type = "htex"
provider = "queue"
resources = "task"
address = "127.0.0.1"

[use]
default = "default"
"""
STAND_INS = {
    "sbatch": 'n=$(ls "$JOBS" | wc -l); for s in "$@"; do :; done\n'
    'cp "$s" "$JOBS/$n.part" && mv "$JOBS/$n.part" "$JOBS/$n.job"; echo "Submitted batch job $n"',
    "squeue": 'for f in "$JOBS"/*.job; do f=${f##*/}; echo "${f%.job} R"; done',
    "sacct": "exit 1",
    "scancel": "exit 0",
}
_TICKS = os.sysconf("SC_CLK_TCK")


class _Watch:
    """The processor time (s), memory (MB) and inodes of a running command."""

    def __init__(self, command: list[str], folder: Path, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(command, cwd=folder, env=environment, stderr=(folder / "err").open("w"))
        self._run = folder / "out.xyz.run"
        self.inodes = 0
        self.samples: list[tuple[float, int, float, float, float]] = []  # time, done, command, interchange, MB
        self._journal = 0
        self._done = 0

    def wait(self) -> None:
        """Look every second until the command ends."""
        while self.process.poll() is None:
            try:
                own, memory = _of(self.process.pid)
                between = sum(_of(pid)[0] for pid in _interchanges(self.process.pid))
            except (OSError, IndexError):
                continue
            self.samples.append((time.monotonic(), self._count(), own, between, memory))
            self.inodes = max(self.inodes, _inodes(self._run))
            time.sleep(1)
        if self.process.returncode:
            raise SystemExit((self._run.parent / "err").read_text())

    def _count(self) -> int:
        """Finished frames, by the journal."""
        path = self._run / "journal.jsonl"
        if path.exists():
            with path.open("rb") as stream:
                stream.seek(self._journal)
                text = stream.read()
            self._journal += len(text)
            self._done += text.count(b'"kind":"unit"')
        return self._done


def _of(pid: int) -> tuple[float, float]:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS, int(fields[21]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def _interchanges(pid: int) -> Iterator[int]:
    for child in map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
        words = Path(f"/proc/{child}/cmdline").read_bytes()
        if b"interchange" in words and b"supervisor.py" not in words:
            yield child
        yield from _interchanges(child)


def _inodes(folder: Path) -> int:
    return 1 + sum(len(folders) + len(files) for _, folders, files in os.walk(folder)) if folder.exists() else 0


def simulate(nodes: int, seconds: float, rounds: int) -> None:
    """With stand-ins for the queue and the workers."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "bin").mkdir()
        for program, script in STAND_INS.items():
            (folder / "bin" / program).write_text(f"#!/bin/bash\n{script}\n")
            (folder / "bin" / program).chmod(0o755)
        jobs = folder / "jobs"
        jobs.mkdir()
        dispatcher = Path(__file__).with_name("dispatcher.py")
        arguments = [sys.executable, str(dispatcher), str(jobs), str(WORKERS), str(seconds)]
        with subprocess.Popen(arguments, cwd=folder) as served:
            try:
                more = {"PATH": f"{folder}/bin:{os.environ['PATH']}", "JOBS": str(jobs)}
                _measure(f"{nodes} simulated nodes", nodes, seconds, rounds, folder, more)
            finally:
                served.terminate()


def emulate(nodes: int, seconds: float, rounds: int) -> None:
    """With a real SLURM whose nodes are all on this host, and real workers, whose tasks sleep."""
    sys.path.append(str(Path(__file__).parents[1] / "tests" / "slurm"))
    from cluster import Cluster

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        with Cluster(folder / "cluster", PORT, nodes + 2) as cluster:
            more = {**cluster.environment, "SLEEP_S": str(seconds)}
            _measure(f"{nodes} emulated nodes", nodes, seconds, rounds, folder, more)


def _measure(what: str, nodes: int, seconds: float, rounds: int, folder: Path, more: dict[str, str]) -> None:
    """Label `rounds` frames for each worker, and print what it cost."""
    frames = nodes * WORKERS * rounds
    (folder / "site.toml").write_text(SITE.format(nodes=nodes, workers=WORKERS))
    water.write(folder / "in.xyz", frames)
    reference = str(Path(__file__).with_name("sleeping.py").absolute())
    command = [water.PSIFLOW, "label", "in.xyz", "--reference", reference, "-o", "out.xyz", "--site", "site.toml"]
    watch = _Watch(command, folder, {**os.environ, **more})
    watch.wait()
    _report(watch, f"P13 {what}, {frames} frames of {seconds:g} s", nodes * WORKERS, seconds, folder)


def _report(watch: _Watch, what: str, workers: int, seconds: float, folder: Path) -> None:
    (_, total, spent, _, memory), begun = watch.samples[-1], [s for s in watch.samples if s[1]]
    steady = [s for s in begun if 0.2 * total < s[1] < 0.9 * total]
    first, last = steady[0], steady[-1]
    count = last[1] - first[1]
    record(f"{what}: ms of the command's CPU a frame", 1000 * spent / total, "<= 2")
    record(f"{what}: the same, without start and end", 1000 * (last[2] - first[2]) / count, "<= 2")
    record(f"{what}: ms of the interchange's CPU a frame", 1000 * (last[3] - first[3]) / count, "")
    busy = 100 * count * seconds / (last[0] - first[0]) / workers
    record(f"{what}: workers busy, without start and end, %", busy, ">= 95")
    # the first results come when the first tasks have taken their time
    took = begun[-1][0] - begun[0][0] + seconds
    record(f"{what}: workers busy, from the first task to the last, %", 100 * total * seconds / took / workers, "")
    record(f"{what}: MB held by the command, growth", last[4] - first[4], "")
    record(f"{what}: MB held by the command at the end", memory, "<= 200")
    record(f"{what}: inodes a block, while running", watch.inodes / (workers / WORKERS), "<= 4")
    record(f"{what}: inodes left", _inodes(folder / "out.xyz.run"), "<= 200")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="One command and many nodes.")
    parser.add_argument("nodes", type=int)
    parser.add_argument("--seconds", type=float, default=5.0, help="of a task")
    parser.add_argument("--rounds", type=int, default=12, help="tasks for each worker")
    parser.add_argument("--emulate", action="store_true", help="a real SLURM and real workers, on this host")
    given = parser.parse_args()
    (emulate if given.emulate else simulate)(given.nodes, given.seconds, given.rounds)
