"""Names of the files in the folder of a training."""

from __future__ import annotations

CONFIG = "mace.yaml"  # the trainer's whole configuration; `mace_run_train --config` takes it
LOG = "trainer.log"  # what the last process said; MACE's own log of all of them is in `logs/`
MODELS = "models"
WEIGHTS = "weights/mace.model"  # the result: there only when the training is finished
FACTS = "facts.json"
RESULTS = "results"
