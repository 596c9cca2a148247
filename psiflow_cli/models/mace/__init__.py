"""MACE: equivariant message passing with higher body order, trained by `mace_run_train`."""

from __future__ import annotations

from psiflow_cli.models.mace.inference import calculator, describe, predict
from psiflow_cli.models.mace.plan import epochs, plan
from psiflow_cli.models.mace.progress import progress
from psiflow_cli.models.mace.training import train

SUMMARY = "MACE: higher-order equivariant message passing"
REQUIRES = ("mace", "torch", "ase")
FILES = (".model",)

__all__ = ["FILES", "REQUIRES", "SUMMARY", "calculator", "describe", "epochs", "plan", "predict", "progress", "train"]
