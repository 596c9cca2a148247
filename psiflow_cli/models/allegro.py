"""Allegro: strictly local equivariant potentials, an extension of NequIP that is trained and run by NequIP."""

from __future__ import annotations

from functools import partial

from psiflow_cli.models.nequip import FILES, calculator, epochs, notes, predict, progress, torchsim, train
from psiflow_cli.models.nequip.compiling import COMPILES, build
from psiflow_cli.models.nequip.defaults import ALLEGRO
from psiflow_cli.models.nequip.export import EXPORTS, exported
from psiflow_cli.models.nequip.features import of_pairs as features
from psiflow_cli.models.nequip.keys import MAIN as MAIN_SETTINGS
from psiflow_cli.models.nequip.plan import configured

SUMMARY = "Allegro: strictly local equivariant potentials, for large systems"
REQUIRES = ("allegro", "nequip", "lightning", "torch", "ase")
EXTRA = "nequip"  # the environment of NequIP has it, too

plan = partial(configured, ALLEGRO)
compile = partial(build, "pair_allegro")
export = partial(exported, "pair_allegro")

__all__ = [
    "COMPILES", "EXPORTS", "EXTRA", "FILES", "MAIN_SETTINGS", "REQUIRES", "SUMMARY",
    "calculator", "compile", "epochs", "export", "features", "notes", "plan", "predict", "progress",
    "torchsim", "train",
]  # fmt: skip
