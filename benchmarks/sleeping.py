"""A reference that sleeps $SLEEP_S for each frame, one frame a task: for measuring who waits for whom."""

import os
import time

SUMMARY = "sleep"
REQUIRES = ()
FRAME_INPUTS = ()
DEFAULT_TASK_SECONDS = 0.0


def settings(input_file, options):
    return {}


def check(settings, elements):
    pass


def label(frames, settings, context):
    time.sleep(float(os.environ.get("SLEEP_S", "0")) * len(frames))
    return [
        {"energy": 0.0, "forces": [[0.0, 0.0, 0.0]] * len(f["symbols"]), "stress": None, "code": "sleep"}
        for f in frames
    ]
