"""Does PLUMED understand an input? Asked in a process of its own: what PLUMED does with a bad one ends only that."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from psiflow_cli.messages import PlumedAnswer, PlumedQuestion


def ask(question: PlumedQuestion) -> PlumedAnswer:
    """What PLUMED, in an empty folder, says of an input for so many atoms; nothing is computed."""
    try:
        import plumed
    except ImportError as error:
        return {"kind": "package", "problem": str(error), "log": ""}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        Path("plumed.dat").write_text(question["text"], encoding="utf-8")
        for name, text in question["files"].items():
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).write_text(text, encoding="utf-8")
        try:
            kernel = plumed.Plumed()
        except Exception as error:
            return {"kind": "kernel", "problem": str(error), "log": ""}
        problem = ""
        try:
            for command, value in (
                ("setRealPrecision", 8), ("setMDEngine", "psiflow"), ("setMDEnergyUnits", question["energy_unit"]),
                ("setMDLengthUnits", 0.1), ("setMDTimeUnits", 0.001), ("setMDMassUnits", 1.0),
                ("setKbT", question["kT"]), ("setTimestep", question["timestep"]), ("setNatoms", question["atoms"]),
                ("setPlumedDat", "plumed.dat"), ("setLogFile", "plumed.log"), ("init", None),
            ):  # fmt: skip
                kernel.cmd(command, value)
        except Exception as error:
            problem = str(error)
        kernel.finalize()
        log = Path("plumed.log").read_text(errors="replace") if os.path.exists("plumed.log") else ""
        os.chdir("/")
    return {"kind": "input" if problem else "", "problem": problem, "log": log}


def main() -> None:
    """Read a question from stdin, and print the answer as the last line of stdout."""
    answer = ask(cast("PlumedQuestion", json.loads(sys.stdin.read())))
    print(f"\n{json.dumps(answer)}", flush=True)


if __name__ == "__main__":
    main()
