"""A user's own reference with the faults of real codes on request: what it does depends on the first atom's x.

It writes each frame that it begins with into `begun` in the folder of logs.
"""

import ctypes
import os
import time
from pathlib import Path

SUMMARY = "faults on request"
REQUIRES = ()
FRAME_INPUTS = ()
DEFAULT_TASK_SECONDS = 0.25
FAULTS = {
    "segfault": (101.0, "worker-lost"),
    "hang": (102.0, "timeout"),
    "hang in C": (103.0, "timeout"),
    "program that hangs": (104.0, "timeout"),
    "memory": (105.0, "out-of-memory"),
    "program over its memory": (106.0, "out-of-memory"),
    "unconverged": (107.0, "unconverged"),
    "NaN": (108.0, "inconsistent"),
    "no forces": (109.0, "inconsistent"),
    "exception": (110.0, "crashed"),
    "exit": (111.0, "crashed"),
}


class OnlyHere(Exception):
    """An exception that the command's process cannot import."""


def settings(input_file, options):
    return {"seconds": float(options.get("seconds", 0))}


def check(settings, elements):
    pass


def code(context):
    return "faulty 1"


def label(frames, settings, context):
    return [_label(frame, settings["seconds"], context) for frame in frames]


def _label(frame, seconds, context):
    with open(os.path.join(context["logs"], "begun"), "a") as stream:
        stream.write(f"{frame['id']}\n")
    time.sleep(seconds)
    x = frame["positions"][0][0]
    fault = next((name for name, (place, _) in FAULTS.items() if place == x), "")
    if fault:
        return _fault(fault, context)
    forces = [[x, 0.0, 0.0] for x, _, _ in frame["positions"]]
    return {"energy": sum(map(sum, frame["positions"])), "forces": forces, "stress": None, "code": "faulty 1"}


def _fault(fault, context):
    if fault == "segfault":
        os.kill(os.getpid(), 11)
    if fault == "hang":
        time.sleep(10_000)
    if fault == "hang in C":
        ctypes.PyDLL(None).sleep(10_000)
    if fault == "memory":
        raise MemoryError
    if fault == "exception":
        raise OnlyHere("unimportable")
    if fault == "exit":
        raise SystemExit(3)
    if fault == "unconverged":
        return {"failure": "unconverged", "message": "no convergence in 50 steps"}
    if fault == "no forces":
        return {"energy": 1.0}
    if fault == "NaN":
        return {"energy": float("nan"), "forces": [[0.0] * 3] * 4, "stress": None, "code": "faulty 1"}
    return _program(fault, context)


def _program(fault, context):
    from psiflow_cli.worker.failures import failure
    from psiflow_cli.worker.process import subprocesses

    greedy = "x = bytearray(400 << 20); import time; time.sleep(10_000)"
    command = ["sleep", "10000"] if fault == "program that hangs" else ["python3", "-c", greedy]
    log = Path(context["logs"]) / f"program-{os.getpid()}"
    done = subprocesses.run(command, log, seconds=context["walltime"], memory=context["memory"])
    return failure("timeout" if done.timed_out else "out-of-memory", "the program was ended", str(log))
