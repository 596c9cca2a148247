"""NequIP: equivariant message passing, trained by `nequip-train`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psiflow_cli.models.nequip.defaults import NEQUIP
from psiflow_cli.models.nequip.export import COMPILES, EXPORTS, build, export_member
from psiflow_cli.models.nequip.files import progress
from psiflow_cli.models.nequip.inference import calculator, predict
from psiflow_cli.models.nequip.inference import of_atoms as features
from psiflow_cli.models.nequip.keys import MAIN as MAIN_SETTINGS
from psiflow_cli.models.nequip.plan import configured, epochs, named_files, notes, packages
from psiflow_cli.models.nequip.torchsim import NEQUIP_PATHS as FAST_PATHS
from psiflow_cli.models.nequip.torchsim import graph_model, torchsim
from psiflow_cli.models.nequip.training import delivered, train

if TYPE_CHECKING:
    from psiflow_cli.messages import CompiledModel, Config, Context, TrainingData

SUMMARY = "NequIP: equivariant message passing"
REQUIRES = ("nequip", "lightning", "torch", "ase")
FILES = (".nequip.zip", ".ckpt")


def plan(config: Config, options: dict[str, str], summary: TrainingData) -> Config:
    """The configuration of `nequip-train`; see `plan.configured`."""
    return configured(config, options, summary, NEQUIP)


def compile(member: str, target: str, folder: str, context: Context) -> CompiledModel:
    """*worker*: a member compiled for a program; see `export.build`."""
    return build(member, target, folder, context, "pair_nequip")


def export(members: list[str], target: str, form: str, folder: str, context: Context) -> str:
    """*worker*: a member for another program; see `export.export_member`."""
    return export_member(members[0], target, folder, context, "pair_nequip")


__all__ = [
    "COMPILES", "EXPORTS", "FAST_PATHS", "FILES", "MAIN_SETTINGS", "REQUIRES", "SUMMARY",
    "calculator", "compile", "delivered", "epochs", "export", "features", "graph_model", "named_files",
    "notes", "packages", "plan", "predict", "progress", "torchsim", "train",
]  # fmt: skip
