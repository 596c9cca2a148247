"""A reference for the faults that real codes cannot be made to show: what it does depends on the first atom's x."""

import os
import time

SUMMARY = "faults on request"
REQUIRES = ()
FRAME_INPUTS = ()
DEFAULT_TASK_SECONDS = 0.0


class OnlyHere(Exception):
    """An exception class that the command's process cannot import."""

    def __init__(self, one, two):
        super().__init__(one)


def settings(input_file, options):
    return {"seconds": float(options.get("seconds", 0))}


def check(settings, elements):
    pass


def label(frames, settings, context):
    results = []
    for frame in frames:
        x = frame["positions"][0][0]
        with open(os.path.join(context["logs"], "calls"), "a") as stream:
            stream.write(frame["id"] + "\n")
        time.sleep(settings["seconds"])
        if x == 101:
            os.kill(os.getpid(), 11)
        if x == 102:
            raise OnlyHere("unimportable", 2)
        if x == 103:
            raise MemoryError
        energy = sum(sum(p) for p in frame["positions"])
        forces = [[0.0, 0.0, 0.0] for _ in frame["positions"]]
        results.append({"energy": energy, "forces": forces, "stress": None, "code": "slow 1"})
    return results
