"""Does PLUMED understand an input? Asked in a process of its own: what PLUMED does with a bad one ends only that."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, cast

from psiflow_cli.worker.md.plumed.files import LOG
from psiflow_cli.worker.md.plumed.kernel import load, read_input, reason, stage
from psiflow_cli.worker.pool.temporary_folders import temporary

if TYPE_CHECKING:
    from psiflow_cli.messages import PlumedAnswer, PlumedQuestion


def ask(question: PlumedQuestion) -> PlumedAnswer:
    """What PLUMED, in an empty folder, says of an input for so many atoms; nothing is computed."""
    try:
        plumed = load()
    except ImportError as error:
        return {"kind": "package", "problem": str(error), "log": ""}
    except Exception as error:
        return {"kind": "kernel", "problem": str(error), "log": ""}
    problem = ""
    with temporary("psiflow-trial") as folder:
        os.chdir(folder)
        stage(Path(folder), question["text"], question["files"], {})
        try:
            unit, kT, timestep = question["energy_unit"], question["kT"], question["timestep"]
            read_input(plumed, question["atoms"], unit, kT, timestep, restart=False)
        except Exception as error:
            problem = reason(error)
        plumed.finalize()
        log = Path(LOG).read_text(errors="replace") if os.path.exists(LOG) else ""
        os.chdir("/")
    return {"kind": "input" if problem else "", "problem": problem, "log": log}


def main() -> None:
    """Read a question from stdin, and print the answer as the last line of stdout."""
    answer = ask(cast("PlumedQuestion", json.loads(sys.stdin.read())))
    print(f"\n{json.dumps(answer)}", flush=True)


if __name__ == "__main__":
    main()
