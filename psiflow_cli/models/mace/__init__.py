"""MACE: equivariant message passing with higher body order, trained by `mace_run_train`."""

from __future__ import annotations

from psiflow_cli.models.mace.export import EXPORTS, WHOLE_COMMITTEES, export
from psiflow_cli.models.mace.files import heads
from psiflow_cli.models.mace.graph_model import graph_model
from psiflow_cli.models.mace.inference import FAST_PATHS, calculator, features, predict, torchsim
from psiflow_cli.models.mace.plan import epochs, named_files, notes, packages, plan, stage_two
from psiflow_cli.models.mace.progress import progress
from psiflow_cli.models.mace.training import delivered, train

SUMMARY = "MACE: higher-order equivariant message passing"
REQUIRES = ("mace", "torch", "ase")
FILES = (".model",)
TRAINS_HEADS = True
MAIN_SETTINGS = (
    *("model", "num_channels", "max_L", "max_ell", "correlation", "num_interactions", "r_max", "loss", "energy_weight"),
    *("forces_weight", "stress_weight", "batch_size", "lr", "max_num_epochs", "swa", "start_swa", "ema"),
)

__all__ = [
    "EXPORTS", "FAST_PATHS", "FILES", "MAIN_SETTINGS", "REQUIRES", "SUMMARY", "TRAINS_HEADS", "WHOLE_COMMITTEES",
    "calculator", "delivered", "epochs", "export", "features", "graph_model", "heads", "named_files", "notes",
    "packages", "plan", "predict", "progress", "stage_two", "torchsim", "train",
]  # fmt: skip
