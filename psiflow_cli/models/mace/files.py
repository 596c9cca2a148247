"""Names of the files in the folder of a training."""

from __future__ import annotations

CONFIG = "mace.yaml"  # the trainer's whole configuration; `mace_run_train --config` takes it
LOG = "trainer.log"  # what the last process said; MACE's own log of all of them is in `logs/`
MODELS = "models"
MODEL = "mace.model"  # the best model so far; where it lies: `worker.training.delivery`
RESULTS = "results"
