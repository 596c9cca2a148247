"""What a training on several GPUs does otherwise than on one, in a line for the user."""

from __future__ import annotations

from psiflow_cli.errors import counted


def notes(gpus: int, batch: object, lr: object) -> list[str]:
    """One note, or none for one GPU; `batch` and `lr` are None where the trainer's own default holds."""
    if gpus < 2:
        return []
    size = f" of {batch}: {counted(gpus * batch, 'frame')} for a step" if isinstance(batch, int) else " of its own"
    rate = "the learning rate" if lr is None else f"lr {lr:g}" if isinstance(lr, (int, float)) else f"lr {lr}"
    return [f"{counted(gpus, 'GPU')}, each with batches{size}; {rate} is not scaled: set it if needed"]
