"""Allegro: strictly local equivariant potentials, an extension of NequIP that is trained and run by NequIP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psiflow_cli.models.nequip import (
    FILES,
    MAIN_SETTINGS,
    calculator,
    delivered,
    epochs,
    graph_model,
    named_files,
    notes,
    packages,
    predict,
    progress,
    torchsim,
    train,
)
from psiflow_cli.models.nequip.defaults import ALLEGRO
from psiflow_cli.models.nequip.export import COMPILES, EXPORTS, build, export_member
from psiflow_cli.models.nequip.inference import of_pairs as features
from psiflow_cli.models.nequip.plan import configured
from psiflow_cli.models.nequip.torchsim import ALLEGRO_PATHS as FAST_PATHS

if TYPE_CHECKING:
    from psiflow_cli.messages import CompiledModel, Config, Context, TrainingData

SUMMARY = "Allegro: strictly local equivariant potentials, for large systems"
REQUIRES = ("allegro", "nequip", "lightning", "torch", "ase")
EXTRA = "nequip"
"""The environment of NequIP has it, too."""


def plan(config: Config, options: dict[str, str], summary: TrainingData) -> Config:
    """The configuration of `nequip-train` for an Allegro model; see `models.nequip.plan`."""
    return configured(config, options, summary, ALLEGRO)


def compile(member: str, target: str, folder: str, context: Context) -> CompiledModel:
    """*worker*: a member compiled for a program; see `models.nequip.export.build`."""
    return build(member, target, folder, context, "pair_allegro")


def export(members: list[str], target: str, form: str, folder: str, context: Context) -> str:
    """*worker*: a member for another program; see `models.nequip.export.export_member`."""
    return export_member(members[0], target, folder, context, "pair_allegro")


__all__ = [
    "COMPILES", "EXPORTS", "EXTRA", "FAST_PATHS", "FILES", "MAIN_SETTINGS", "REQUIRES", "SUMMARY",
    "calculator", "compile", "delivered", "epochs", "export", "features", "graph_model", "named_files",
    "notes", "packages", "plan", "predict", "progress", "torchsim", "train",
]  # fmt: skip
