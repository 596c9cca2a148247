"""Predictions of many frames at once: batches that fit into memory, and frames that fail alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psiflow_cli.worker.failures import failure, is_out_of_memory
from psiflow_cli.worker.models.calculators import same_digits
from psiflow_cli.worker.structures import validity

Wire = dict[str, Any]

_BATCH_ATOMS = {"cpu": 256, "cuda": 8192}
"""How many atoms are computed at once: on a CPU, more gains nothing and takes memory."""
_LOADED_MODELS = 16
_loaded: dict[tuple[str, float, str, str], Model] = {}


@dataclass(frozen=True)
class Model:
    """A loaded model as `predict` needs it."""

    calculator: Any
    forward: Callable[[list[Wire]], list[Wire]]
    """A label or a failure for each frame of a batch; RuntimeError where it does not fit into memory."""
    elements: frozenset[str]


def threads(context: Wire) -> int:
    """How many threads the task has."""
    return int(context.get("threads") or context.get("cores") or 1)


def keep(path: Path, context: Wire, load: Callable[[], Model]) -> Model:
    """The model in a file, loaded once for all the tasks of this process."""
    path = path.resolve()
    key = (str(path), path.stat().st_mtime, str(context.get("device")), str(context.get("dtype")))
    if key not in _loaded:
        while len(_loaded) >= _LOADED_MODELS:
            del _loaded[next(iter(_loaded))]
        _loaded[key] = load()
        if context.get("device") != "cuda":
            same_digits()
    return _loaded[key]


def predict(frames: list[Wire], models: Sequence[Model], context: Wire) -> list[list[Wire]]:
    """For each model, a label or a failure for each frame.

    Which frames share a batch shows in the last digits (1e-15 eV/Å). So there are batches on a GPU or with several
    threads, where a repeat is no more exact than that; with one thread of a CPU, a frame's numbers do not depend on the
    frames it comes with.
    """
    import torch

    torch.set_num_threads(threads(context))
    device = context.get("device") or "cpu"
    atoms = 0 if device == "cpu" and threads(context) == 1 else _BATCH_ATOMS.get(device, 256)
    return [_predict(frames, model, atoms) for model in models]


def _predict(frames: list[Wire], model: Model, atoms: int) -> list[Wire]:
    results: list[Wire | None] = [_unfit(frame, model.elements) for frame in frames]
    good = [i for i, result in enumerate(results) if result is None]
    for batch in _batches(good, frames, atoms):
        for index, result in zip(batch, _halved([frames[i] for i in batch], model.forward), strict=True):
            results[index] = result
    return [result for result in results if result is not None]


def _unfit(frame: Wire, elements: frozenset[str]) -> Wire | None:
    """The failure of a frame that the model cannot compute, or None."""
    foreign = sorted(set(frame["symbols"]) - elements)
    if foreign:
        return failure("invalid-input", f"the model does not know {', '.join(foreign)}")
    wrong = validity.invalid(frame)
    return failure("invalid-input", wrong) if wrong else None


def _batches(indices: Sequence[int], frames: list[Wire], atoms: int) -> Iterator[list[int]]:
    """Groups of at most `atoms` atoms, or of one larger frame."""
    batch: list[int] = []
    held = 0
    for index in indices:
        size = len(frames[index]["symbols"])
        if batch and held + size > atoms:
            yield batch
            batch, held = [], 0
        batch.append(index)
        held += size
    if batch:
        yield batch


def _halved(frames: list[Wire], forward: Callable[[list[Wire]], list[Wire]]) -> list[Wire]:
    """One batch; halved where it does not fit into memory."""
    try:
        return forward(frames)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
    if len(frames) == 1:
        return [failure("out-of-memory", f"{len(frames[0]['symbols'])} atoms do not fit into the memory")]
    half = len(frames) // 2
    return _halved(frames[:half], forward) + _halved(frames[half:], forward)
