"""NequIP: equivariant message passing, trained by `nequip-train`."""

from __future__ import annotations

from typing import Any

from psiflow_cli.models.nequip.compiling import COMPILES, build
from psiflow_cli.models.nequip.defaults import NEQUIP
from psiflow_cli.models.nequip.export import EXPORTS, made
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


def plan(config: dict[str, Any], options: dict[str, str], summary: dict[str, Any]) -> dict[str, Any]:
    """The configuration of `nequip-train`; see `plan.configured`."""
    return configured(config, options, summary, NEQUIP)


def compile(member: str, target: str, folder: str, context: dict[str, Any]) -> dict[str, Any]:
    """*worker*: a member compiled for a program; see `compiling.build`."""
    return build(member, target, folder, context, "pair_nequip")


def export(members: list[str], target: str, form: str, folder: str, context: dict[str, Any]) -> str:
    """*worker*: a member for another program; see `export.made`."""
    return made(members[0], target, folder, context, "pair_nequip")


__all__ = [
    "COMPILES", "EXPORTS", "FILES", "MAIN_SETTINGS", "REQUIRES", "SUMMARY",
    "calculator", "compile", "epochs", "export", "features", "notes", "plan", "predict", "progress",
    "torchsim", "train",
]  # fmt: skip
