"""Which frame is nearest to each window: the one where the window's bias is lowest; in a process of its own."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, cast

from psiflow_cli.worker.failures import Fatal
from psiflow_cli.worker.md.plumed import effective_input, memory
from psiflow_cli.worker.md.plumed.kernel import Kernel, stage
from psiflow_cli.worker.md.plumed.window import filled
from psiflow_cli.worker.md.walker import start_atoms
from psiflow_cli.worker.pool.temporary_folders import temporary

if TYPE_CHECKING:
    from psiflow_cli.messages import NearestAnswer, NearestQuestion


def ask(question: NearestQuestion) -> NearestAnswer:
    """The place of the frame with the lowest bias in each window, the first of equals, and that bias in eV."""
    import numpy as np

    frames = [start_atoms(frame) for frame in question["frames"]]
    places, energies = [], []
    for window in question["windows"]:
        texts = {name: filled(text, window) for name, text in question["files"].items()}
        actions = effective_input.actions(filled(question["text"], window), texts)
        with temporary("psiflow-nearest") as name:
            folder = Path(name)
            stage(folder, effective_input.text_of(actions, None, {}), texts, {})
            in_eV = effective_input.counts_in_eV(actions)
            kernel = Kernel(folder, frames[0], question["timestep"], question["kT"], in_eV, restart=False)
            parsed = memory.parsed(kernel.log)
            if unsuited := next((each.name for each in parsed if each.name in {*memory.KEPT, "ENERGY"}), ""):
                raise Fatal(
                    f"PLUMED's {unsuited} does not measure how near a frame is to a window", "leave out --nearest"
                )
            biases = [kernel(0, atoms.positions, atoms.cell.array).energy for atoms in frames]
            kernel.close()
        places.append(int(np.argmin(biases)))
        energies.append(float(min(biases)))
    return {"problem": "", "hint": "", "places": places, "energies": energies}


def main() -> None:
    """Read a question from stdin, and print the answer as the last line of stdout."""
    try:
        answer = ask(cast("NearestQuestion", json.loads(sys.stdin.read())))
    except Fatal as error:
        answer = {"problem": str(error), "hint": error.hint, "places": [], "energies": []}
    print(f"\n{json.dumps(answer)}", flush=True)


if __name__ == "__main__":
    main()
