"""A worker whose task kills it: what it had finished before has left, and the lock of the results is free."""

from __future__ import annotations

import inspect
import multiprocessing
import os
import queue
import signal
import sys
import time

import pytest

from psiflow_cli.worker.pool import call

CONTEXT = multiprocessing.get_context("fork")


def deadly(seconds: float) -> None:
    """Compute for so long, then die."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass
    os.kill(os.getpid(), signal.SIGKILL)


def worker(result_queue, seconds):
    """As Parsl's: a result, and at once the next task."""
    sys.setswitchinterval(0.005)
    result_queue.put("x" * 3000)
    call.call(f"{__name__}:deadly", {"seconds": seconds})


# of a thread that sends, Python lets the other go on after 5 ms
@pytest.mark.parametrize("seconds", [0.0, 0.004, 0.0055, 0.006, 0.0065])
def test_the_result_before_has_left(seconds):
    for _ in range(10):
        results = CONTEXT.Queue()
        process = CONTEXT.Process(target=worker, args=(results, seconds))
        process.start()
        try:
            assert len(results.get(timeout=10)) == 3000
        except queue.Empty:
            pytest.fail("the result was lost with its worker")
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert results._wlock.acquire(timeout=5), "no other worker could send any more"


def test_parsl_s_worker_is_what_is_looked_for():
    pool = pytest.importorskip("parsl.executors.high_throughput.process_worker_pool")
    assert "result_queue" in inspect.signature(pool.worker).parameters
    results = CONTEXT.Queue()
    assert all(hasattr(results, name) for name in ("_notempty", "_buffer", "_thread"))
