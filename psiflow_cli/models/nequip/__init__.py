"""NequIP: equivariant message passing, trained by `nequip-train`."""

from __future__ import annotations

from functools import partial

from psiflow_cli.models.nequip.compiling import COMPILES, build
from psiflow_cli.models.nequip.defaults import NEQUIP
from psiflow_cli.models.nequip.export import EXPORTS, exported
from psiflow_cli.models.nequip.features import of_atoms as features
from psiflow_cli.models.nequip.inference import calculator, predict
from psiflow_cli.models.nequip.keys import MAIN as MAIN_SETTINGS
from psiflow_cli.models.nequip.plan import configured, epochs, notes
from psiflow_cli.models.nequip.progress import progress
from psiflow_cli.models.nequip.torchsim import torchsim
from psiflow_cli.models.nequip.training import train

SUMMARY = "NequIP: equivariant message passing"
REQUIRES = ("nequip", "lightning", "torch", "ase")
FILES = (".nequip.zip", ".ckpt")

plan = partial(configured, NEQUIP)
compile = partial(build, "pair_nequip")
export = partial(exported, "pair_nequip")

__all__ = [
    "COMPILES", "EXPORTS", "FILES", "MAIN_SETTINGS", "REQUIRES", "SUMMARY",
    "calculator", "compile", "epochs", "export", "features", "notes", "plan", "predict", "progress",
    "torchsim", "train",
]  # fmt: skip
