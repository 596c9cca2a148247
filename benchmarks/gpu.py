"""Everything about a GPU in one command, in ten minutes at most: a table on stdout, and JSON.

    python benchmarks/gpu.py [--device cuda|cpu] [--quick] [--minutes 10] [--json gpu.json]
        [--python FAMILY=PYTHON ...] [--bundle FAMILY=BUNDLE ...] [--only SECTION ...]

Equal numbers on CPU and GPU for each family; steps of molecular dynamics a second, psiflow against torch-sim's own
integrator, ASE and bare calls of the same model, with the memory they take; training against `mace_run_train`. Without
bundles, small models of copper are trained on the spot, with the labels of ASE's EMT. Families that cannot share an
environment have their own Python, with psiflow in it. Each section is a process with a part of the time; one that
fails, or lacks a package, says why, and the others go on. `--device cpu --quick` tries the script itself.
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

FAMILIES = ("mace", "nequip", "allegro")
SHARE = {"prepare": 0.12, "equal": 0.08, "speed": 0.5, "train": 0.3}
"""Of the time, for each kind of section."""


def main(options: argparse.Namespace) -> None:
    began, results = time.monotonic(), []
    bundles, pythons = pairs(options.bundle), pairs(options.python)
    with tempfile.TemporaryDirectory(prefix="psiflow-gpu-") as folder:
        sections = [("device", "torch")]
        sections += [(kind, family) for kind in ("prepare", "equal", "speed") for family in options.family]
        sections += [("train", "mace")] if "mace" in options.family else []
        for kind, family in sections:
            if options.only and kind not in (*options.only, "device", "prepare"):
                continue
            if kind == "prepare" and family in bundles:
                continue
            left = 60 * options.minutes - (time.monotonic() - began)
            shared = SHARE.get(kind, 0.1) / (1 if kind == "train" else len(options.family))
            seconds = min(left, 60 * options.minutes * shared) if options.minutes < 60 else left
            task = {
                "kind": kind, "family": family, "device": options.device, "quick": options.quick, "seconds": seconds,
                "folder": folder, "bundle": os.path.abspath(bundles.get(family, f"{folder}/{family}.model")),
            }  # fmt: skip
            python = pythons.get(family, sys.executable)
            found = run(python, task) if seconds > 5 else {"skipped": "no time left"}
            results.append({"section": kind, "family": family, **found})
            show(results[-1])
    Path(options.json).write_text(json.dumps(results, indent=1) + "\n")
    print(f"\n{time.monotonic() - began:.0f} s; {options.json} has the numbers")


def run(python: str, task: dict[str, Any]) -> dict[str, Any]:
    """A section in a process of its own; what it had found when its time was up counts."""
    argv = [python, str(Path(__file__).with_name("gpu_sections.py")), json.dumps(task)]
    env = {**os.environ, "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        try:
            # its own limit comes first: this one is for what hangs
            code = subprocess.run(argv, stdout=out, stderr=err, env=env, timeout=1.3 * task["seconds"] + 30).returncode
        except subprocess.TimeoutExpired:
            code = 124
        out.seek(0)
        err.seek(0)
        lines = [line for line in out.read().splitlines() if line.startswith("{")]
        last = (err.read().strip().splitlines() or [f"exit code {code}"])[-1]
    found: dict[str, Any] = {}
    for line in lines:
        for name, value in json.loads(line).items():
            found[name] = found.get(name, []) + value if isinstance(value, list) else value
    return found if code == 0 else {**found, "skipped": "its time was up" if code == 124 else last[:300]}


def pairs(values: list[str]) -> dict[str, str]:
    return dict(value.split("=", 1) for value in values)


def show(result: dict[str, Any]) -> None:
    """The rows of a section."""
    head = f"{result['section']:8} {result['family']:8}"
    for row in result.get("rows", []):
        cells = (
            f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in row.items()
        )
        print(f"{head} {'  '.join(cells)}", flush=True)
    if why := result.get("skipped"):
        print(f"{head} skipped: {why}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--json", default="gpu.json")
    parser.add_argument("--family", action="append", choices=FAMILIES)
    parser.add_argument("--python", action="append", default=[], metavar="FAMILY=PYTHON")
    parser.add_argument("--bundle", action="append", default=[], metavar="FAMILY=BUNDLE")
    parser.add_argument("--only", action="append", choices=SHARE)
    arguments = parser.parse_args()
    arguments.family = arguments.family or list(FAMILIES)
    main(arguments)
