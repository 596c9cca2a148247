"""What a step of the batched engine costs for each walker of 24 atoms, with a model and with one that costs nothing:

    python benchmarks/batched_steps.py [BUNDLE] [--before CHECKOUT] [--walkers 1,16,256] [--repeats 3]

The free model shows the engine's own part; BUNDLE is of MACE, and shows whole steps. `--before` is a checkout of
another version of psiflow: both run in turn, each in its own process, and the table has both. The time is that of a
processor, so that a busy machine disturbs it less: of a long block less that of a short one.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import sampling

STEPS = {"free": (100, 600), "model": (4, 24)}
HERE = Path(__file__).resolve().parents[1]


def main(bundle: str | None, before: str | None, walkers: list[int], repeats: int) -> None:
    """The table."""
    versions = {"now": str(HERE), **({"before": before} if before else {})}
    kinds = [("free", every) for every in (10, 10**6)] + ([("model", 10)] if bundle else [])
    print(f"{'model':8}{'frames':>10}{'walkers':>9}" + "".join(f"{name + ', µs':>14}" for name in versions))
    for kind, every in kinds:
        for count in walkers:
            if kind == "model" and count > 64:
                continue
            best = dict.fromkeys(versions, float("inf"))
            for _ in range(repeats):
                for name, checkout in versions.items():
                    task = {"kind": kind, "every": every, "walkers": count, "bundle": bundle}
                    env = {**os.environ, "PYTHONPATH": checkout, "OMP_NUM_THREADS": "1"}
                    command = [sys.executable, __file__, "--inner", json.dumps(task)]
                    done = subprocess.run(command, capture_output=True, text=True, env=env)
                    if done.returncode:
                        sys.exit(done.stderr)
                    best[name] = min(best[name], float(done.stdout.splitlines()[-1]))
            frames = "no" if every > 10 else "each 10th"
            print(f"{kind:8}{frames:>10}{count:>9}" + "".join(f"{value:14.1f}" for value in best.values()), flush=True)


def _seconds(task: dict[str, Any]) -> float:
    """Microseconds of the processor for a step of one walker."""
    from psiflow_cli.samplers import torchsim

    short, long = STEPS[task["kind"]]
    job = sampling._job({"atoms": 24, "family": "mace", "bundle": task["bundle"] or "", "walkers": task["walkers"]})
    if task["kind"] == "free":
        job["model"] = {"family": str(Path(__file__).with_name("free_model.py")), "members": [""]}
    job.update(every=task["every"], batch=task["walkers"], steps=10**6, limits={"force": 1e4, "temperature": 1e6})
    context = {"scratch": "", "device": "cpu", "dtype": None, "threads": 1, "cores": 1}
    took = []
    with tempfile.TemporaryDirectory() as folder:
        for number, steps in enumerate((short, short, long)):
            one = {**job, "block": steps, "folder": f"{folder}/{number}"}
            begin = time.process_time()
            torchsim.advance(one, context)  # type: ignore[arg-type]
            took.append(time.process_time() - begin)
    return 1e6 * (took[2] - took[1]) / (long - short) / task["walkers"]


if __name__ == "__main__":
    if "--inner" in sys.argv:
        print(_seconds(json.loads(sys.argv[2])))
        sys.exit()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", nargs="?", metavar="BUNDLE")
    parser.add_argument("--before", metavar="CHECKOUT")
    parser.add_argument("--walkers", default="1,16,256,1024")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    main(options.bundle, options.before, [int(count) for count in options.walkers.split(",")], options.repeats)
