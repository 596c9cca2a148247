"""Path-integral molecular dynamics, and dynamics under PLUMED, with i-PI's integrators in the worker's own process.

Each atom is a ring of `--beads` copies that the temperature and ħ hold together (Parrinello and Rahman, J. Chem. Phys.
80, 860 (1984)); averages over the beads are those of the quantum nuclei at that temperature, the nearer the more beads.
A recorded step is one frame for each bead: its positions and `model_energy` are the bead's, the rest is the step's.
`kinetic_energy` is the centroid-virial estimate of the quantum one (Herman, Bruskin and Berne, J. Chem. Phys. 76, 5150
(1982)), `pressure` has it in place of the classical one, and `temperature` is that of the momenta of all beads.

Only i-PI's integrators are used: no sockets, threads, signal handlers or files of its own.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from psiflow_cli.worker.failures import Fatal
from psiflow_cli.worker.md import checkpoint, validation

if TYPE_CHECKING:
    from psiflow_cli.messages import BlockReport, Context, Dynamics, MDJob

SUMMARY = "path integrals (--beads), also under PLUMED, with i-PI's integrators"
REQUIRES = ("ipi", "ase")
BATCHED = False
ENSEMBLES = ("nve", "nvt", "npt", "nvst")
THERMOSTATS = ("langevin", "csvr")


def refuses(settings: Dynamics) -> str:
    """Why this engine cannot do what the settings ask for, or "". Nothing is loaded."""
    beads, ensemble = settings.get("beads", 1), settings["ensemble"]
    if beads == 1 and not settings.get("plumed"):
        return "it is used only for path integrals (--beads) and PLUMED (--plumed)"
    if ensemble not in ENSEMBLES:
        return f"its ensembles are {', '.join(ENSEMBLES)}"
    if ensemble == "nve":
        if beads > 1:
            return "path integrals need a thermostat, as in --ensemble nvt"
    elif settings.get("thermostat", "langevin") not in THERMOSTATS:
        return f"its thermostats are {', '.join(THERMOSTATS)}"
    if settings.get("exchange"):
        return "it has no replica exchange (--exchange)"
    if settings.get("ramp_steps"):
        return "it has no temperature ramps"
    return ""


def advance(job: MDJob, context: Context) -> BlockReport:
    """*worker*: move the walkers by `job["block"]` steps at most, from their last checkpoint; see `Sampler`."""
    from psiflow_cli.samplers.ipi import motion

    began = time.perf_counter()
    validation.validate(job, ENSEMBLES)
    try:
        import ipi  # noqa: F401
    except ImportError:
        raise Fatal(f"i-PI is not installed in {sys.prefix}", "pip install 'ipi>=3.3.1' there") from None
    with checkpoint.open_group(job) as group:
        if group.unfinished(job["steps"]):
            group.open()
            walkers = motion.restored_walkers(job, context, group)
            for walker in walkers:
                walker.move(min(walker.step + job["block"], job["steps"]))
            group.commit([walker.checkpoint() for walker in walkers])
        return {"walkers": group.report(), "seconds": time.perf_counter() - began}
