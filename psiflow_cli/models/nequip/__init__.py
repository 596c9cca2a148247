"""NequIP: equivariant message passing, trained by `nequip-train`."""

from __future__ import annotations

from typing import Any

from psiflow_cli.models.nequip.defaults import NEQUIP
from psiflow_cli.models.nequip.inference import calculator, describe, predict
from psiflow_cli.models.nequip.keys import MAIN as MAIN_SETTINGS
from psiflow_cli.models.nequip.plan import configured, epochs
from psiflow_cli.models.nequip.progress import progress
from psiflow_cli.models.nequip.training import train

SUMMARY = "NequIP: equivariant message passing"
REQUIRES = ("nequip", "lightning", "torch", "ase")
FILES = (".nequip.zip", ".ckpt")


def plan(config: dict[str, Any], options: dict[str, str], summary: dict[str, Any]) -> dict[str, Any]:
    """The configuration of `nequip-train`; see `plan.configured`."""
    return configured(config, options, summary, NEQUIP)


__all__ = [
    "FILES", "MAIN_SETTINGS", "REQUIRES", "SUMMARY",
    "calculator", "describe", "epochs", "plan", "predict", "progress", "train",
]  # fmt: skip
