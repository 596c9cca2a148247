"""A reference that computes nothing, for measuring everything else."""

SUMMARY = "nothing"
REQUIRES = ()
FRAME_INPUTS = ()
DEFAULT_TASK_SECONDS = 0.5


def settings(input_file, options):
    return {}


def check(settings, elements):
    pass


def label(frames, settings, context):
    return [
        {"energy": 0.0, "forces": [[0.0, 0.0, 0.0]] * len(f["symbols"]), "stress": None, "code": "noop"} for f in frames
    ]
