"""P2 and P3: `label` with a reference that does nothing, against plain Parsl (HTEX as its documentation configures it).

P2 is the time from a cold start to one labelled frame on disk; P3 the rate of 4,000 frames, journalled and fsynced,
against one Parsl task per frame on a warm executor of the same kind.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import water
from pairs import compare, seconds

FRAMES = 4000
COLD = """
import parsl, sys
from parsl.config import Config
from parsl.executors import HighThroughputExecutor
from parsl.providers import LocalProvider
@parsl.python_app
def nothing(): return 0
with parsl.load(Config(executors=[HighThroughputExecutor(label="htex", cores_per_worker=1, provider=LocalProvider())])):
    nothing().result()
"""
WARM = """
import parsl, sys, time
from parsl.config import Config
from parsl.executors import HighThroughputExecutor
from parsl.providers import LocalProvider
@parsl.python_app
def nothing(frame): return {"energy": 0.0, "forces": [[0.0] * 3] * 3}
frame = {"symbols": ["O", "H", "H"], "positions": [[0.0] * 3] * 3}
with parsl.load(Config(executors=[HighThroughputExecutor(label="htex", cores_per_worker=1, max_workers_per_node=2,
                                                         provider=LocalProvider())])):
    nothing(frame).result()
    start = time.perf_counter()
    for future in [nothing(frame) for _ in range(int(sys.argv[1]))]: future.result()
    print(time.perf_counter() - start)
"""


def cold_label(folder: Path) -> float:
    shutil.rmtree(folder / "one.labelled.xyz.run", ignore_errors=True)
    (folder / "one.labelled.xyz").unlink(missing_ok=True)
    return seconds(water.label(folder / "one.xyz", folder / "one.labelled.xyz"), cwd=str(folder))


def many(folder: Path) -> float:
    """Seconds per frame for 4,000 frames, the cold start left out."""
    shutil.rmtree(folder / "many.labelled.xyz.run", ignore_errors=True)
    (folder / "many.labelled.xyz").unlink(missing_ok=True)
    whole = seconds(water.label(folder / "many.xyz", folder / "many.labelled.xyz"), cwd=str(folder))
    return (whole - cold_label(folder)) / (FRAMES - 1)


def parsl_cold(folder: Path) -> float:
    return seconds([sys.executable, "-c", COLD], cwd=str(folder))


def parsl_many(folder: Path) -> float:
    command = [sys.executable, "-c", WARM, str(FRAMES)]
    return float(subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout) / FRAMES


def main(full: bool = False) -> None:
    """Both, with more repeats if there is time."""
    # where plain Parsl looks for its scripts
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        water.write(folder / "one.xyz", 1)
        water.write(folder / "many.xyz", FRAMES)
        compare("P2 first label, s", lambda: cold_label(folder), lambda: parsl_cold(folder), "<= 0.45")
        compare(
            f"P3 seconds per frame of {FRAMES}",
            lambda: many(folder),
            lambda: parsl_many(folder),
            "<= 0.333",
            repeats=5 if full else 3,
        )


if __name__ == "__main__":
    main()
