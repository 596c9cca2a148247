"""Allegro: strictly local equivariant potentials, an extension of NequIP that is trained and run by NequIP."""

from __future__ import annotations

from typing import Any

from psiflow_cli.models.nequip import FILES, MAIN_SETTINGS, calculator, describe, epochs, predict, progress, train
from psiflow_cli.models.nequip.defaults import ALLEGRO
from psiflow_cli.models.nequip.plan import configured

SUMMARY = "Allegro: strictly local equivariant potentials, for large systems"
REQUIRES = ("allegro", "nequip", "lightning", "torch", "ase")
EXTRA = "nequip"
"""The environment of NequIP has it, too."""


def plan(config: dict[str, Any], options: dict[str, str], summary: dict[str, Any]) -> dict[str, Any]:
    """The configuration of `nequip-train` for an Allegro model; see `models.nequip.plan`."""
    return configured(config, options, summary, ALLEGRO)


__all__ = [
    "EXTRA", "FILES", "MAIN_SETTINGS", "REQUIRES", "SUMMARY",
    "calculator", "describe", "epochs", "plan", "predict", "progress", "train",
]  # fmt: skip
