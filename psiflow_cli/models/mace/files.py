"""Names of files in the folder of a training, and what a model file tells without being run."""

from __future__ import annotations

from pathlib import Path

from psiflow_cli.worker.models import torch_file

CONFIG = "mace.yaml"  # the trainer's whole configuration; `mace_run_train --config` takes it
LOG = "trainer.log"  # what the last process said; MACE's own log of all of them is in `logs/`
MODELS = "models"
MODEL = "mace.model"  # the best model so far; where it lies: `worker.training.delivery`
RESULTS = "results"


def heads(file: Path) -> list[str]:
    """See `protocols.HasHeads`; seen in mace-torch 0.3.16, where models of older versions have no names of heads."""
    names = torch_file.attributes(file).get("heads")
    return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else []
