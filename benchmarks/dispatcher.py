"""Stands in for the worker pools of many nodes: takes the tasks of HTEX's interchange and answers each after a while.

    python dispatcher.py JOBS WORKERS SECONDS

JOBS is the folder into which the stand-in of sbatch copies the scripts of blocks. Each becomes a pool of WORKERS that
work SECONDS on a task; what comes back is what the function of the task returns without any work.
"""

from __future__ import annotations

import heapq
import pickle
import re
import sys
import time
from pathlib import Path
from typing import Any

import zmq
from parsl import curvezmq
from parsl.serialize import serialize, unpack_apply_message
from parsl.version import VERSION

_BEAT_S = 2.0
_OPTIONS = {"port": r"--port=(\d+)", "cert_dir": r"--cert_dir (\S+)", "block": r"--block_id=(\S+)"}


class _Pool:
    """One node, as the interchange sees it."""

    def __init__(self, context: Any, script: str, workers: int) -> None:
        options = {name: re.search(pattern, script)[1] for name, pattern in _OPTIONS.items()}  # type: ignore[index]
        self.socket = context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.IDENTITY, f"pool-{options['block']}".encode())
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.connect(f"tcp://127.0.0.1:{options['port']}")
        python = ".".join(map(str, sys.version_info[:3]))
        self.send(
            type="registration", parsl_v=VERSION, python_v=python, packages={}, worker_count=workers,
            uid=f"pool-{options['block']}", block_id=options["block"], start_time=time.time(),
            drain_time=float("inf"), prefetch_capacity=0, max_capacity=workers, os="Linux", hostname="simulated",
            dir="/", cpu_count=workers, total_memory=1 << 30,
        )  # fmt: skip

    def send(self, **message: object) -> None:
        self.socket.send(pickle.dumps(message))


def main(jobs: Path, workers: int, seconds: float) -> None:
    """Serve every block whose script comes, until there is no folder of jobs any more."""
    context: Any = None
    poller, pools, due, busy = zmq.Poller(), {}, [], 0  # type: ignore[var-annotated]
    scripts: set[Path] = set()
    beat = 0.0
    while jobs.is_dir():
        now = time.monotonic()
        if now - beat > _BEAT_S:
            beat = now
            for path in sorted(set(jobs.glob("*.job")) - scripts):
                scripts.add(path)
                text = path.read_text()
                if context is None:
                    context = curvezmq.ClientContext(re.search(_OPTIONS["cert_dir"], text)[1])  # type: ignore[index]
                    context._ctx.set(zmq.MAX_SOCKETS, 1 << 14)
                pool = _Pool(context, text, workers)
                pools[pool.socket] = pool
                poller.register(pool.socket, zmq.POLLIN)
            for pool in pools.values():
                pool.send(type="heartbeat")
        while due and due[0][0] <= now:
            _, _, pool, task = heapq.heappop(due)
            result = {"type": "result", "task_id": task["task_id"], "result": _answer(task["buffer"])}
            pool.send(**result)
        wait = min(beat + _BEAT_S, due[0][0] if due else now + 0.2, now + 0.2) - now
        for socket, _ in poller.poll(max(0, int(1000 * wait))):
            message = pickle.loads(socket.recv())
            if isinstance(message, list):
                for task in message:
                    busy += 1
                    heapq.heappush(due, (time.monotonic() + seconds, busy, pools[socket], task))


def _answer(buffer: bytes) -> bytes:
    """What the worker would send back: the function itself is called, which takes no time."""
    function, args, kwargs = unpack_apply_message(buffer)
    return serialize(function(*args, **kwargs), buffer_threshold=1 << 20)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
