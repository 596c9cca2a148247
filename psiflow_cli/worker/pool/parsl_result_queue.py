"""Sees to it that a worker's last result has left before the next task begins.

Parsl's worker hands a result to a thread that sends it, and takes the next task at once. If that task kills the process
while the thread sends, a lock which all workers of the node share is never given back: no result leaves that node any
more, and the command waits for ever.
"""

from __future__ import annotations

import sys
import time
from typing import Any

_PATIENCE_S = 5.0


def settle() -> None:
    """Return once the thread has nothing left to send; at once where this is no worker of Parsl's pool."""
    results = _result_queue()
    thread = getattr(results, "_thread", None)
    if thread is None:
        return  # no pool, or nothing was sent yet
    give_up = time.monotonic() + _PATIENCE_S
    # between two sendings the thread waits to be notified of the next
    while not (results._notempty._waiters and not results._buffer):
        if not thread.is_alive() or time.monotonic() > give_up:
            return
        time.sleep(0.0002)


def _result_queue() -> Any:
    """The `multiprocessing.Queue` for results, a local variable of the function that calls tasks; None elsewhere."""
    frame = sys._getframe()
    while frame:
        queue = frame.f_locals.get("result_queue") if frame.f_code.co_name == "worker" else None
        if hasattr(queue, "_notempty") and hasattr(queue, "_buffer"):
            return queue
        frame = frame.f_back  # type: ignore[assignment]
    return None
