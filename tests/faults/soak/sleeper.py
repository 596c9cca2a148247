"""A user's own reference that only takes time, 1 to `longest` seconds, and notes which job began and ended what."""

import os
import time

SUMMARY = "sleeps"
REQUIRES = ()
FRAME_INPUTS = ()
DEFAULT_TASK_SECONDS = 0.0


def settings(input_file, options):
    return {"longest": float(options.get("longest", 60))}


def check(settings, elements):
    pass


def code(context):
    return "sleeper 1"


def label(frames, settings, context):
    return [_label(frame, settings["longest"], context["logs"]) for frame in frames]


def _label(frame, longest, logs):
    def note(what):
        with open(os.path.join(logs, "sleeps"), "a") as stream:
            stream.write(f"{what} {frame['id']} {os.environ['SLURM_JOB_ID']} {time.time():.3f}\n")

    note("begin")
    time.sleep(longest ** (int(frame["id"][:6], 16) / 0xFFFFFF))
    note("end")
    energy = sum(map(sum, frame["positions"]))
    return {"energy": energy, "forces": [[0.0] * 3 for _ in frame["positions"]], "stress": None, "code": "sleeper 1"}
