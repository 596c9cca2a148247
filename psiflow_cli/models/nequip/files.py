"""Names of the files in the folder of a training."""

from __future__ import annotations

CONFIG = "nequip.yaml"  # the trainer's whole configuration; `nequip-train -cn nequip` in this folder takes it
LOG = "trainer.log"  # what the last process said; NequIP's own log of all of them is in `hydra/`
HYDRA = "hydra"
CHECKPOINTS = "checkpoints"
LAST = f"{CHECKPOINTS}/last.ckpt"
BEST = f"{CHECKPOINTS}/best.ckpt"
EPOCHS = "epochs.jsonl"  # one line for each finished epoch
WEIGHTS = "weights/model.nequip.zip"  # the result, NequIP's own package: there only when the training is at its end
FACTS = "facts.json"
INIT = "init"  # a copy of the model to start from, with its own suffix: NequIP's checkpoints refer to the file
