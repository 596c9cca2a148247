"""Predictions of many frames at once: batches that fit into memory, and frames that fail alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from psiflow_cli import voigt
from psiflow_cli.worker.failures import failure, is_out_of_memory
from psiflow_cli.worker.models import hardware
from psiflow_cli.worker.models.calculators import same_digits
from psiflow_cli.worker.models.predictions import Predict, apart, unfit
from psiflow_cli.worker.structures import labels

if TYPE_CHECKING:
    import torch
    from ase.calculators.calculator import Calculator

    from psiflow_cli.messages import Context, Failure, Frame, PredictionResult

_BATCH_ATOMS = {"cpu": 256, "cuda": 8192}
"""How many atoms are computed at once: on a CPU, more gains nothing and takes memory."""
_LOADED_MODELS = 16
_loaded: dict[tuple[str, float, str, str, str], Model] = {}


@dataclass(frozen=True)
class Model:
    """A loaded model as `predict` needs it."""

    calculator: Calculator
    forward: Predict
    """A prediction or a failure for each frame of a batch; RuntimeError where it does not fit into memory."""
    elements: frozenset[str]


def keep(path: Path, context: Context, load: Callable[[], Model]) -> Model:
    """The model in a file, loaded once for all the tasks of this process."""
    path = path.resolve()
    device, dtype, head = (str(context.get(name)) for name in ("device", "dtype", "head"))
    key = (str(path), path.stat().st_mtime, device, dtype, head)
    if key not in _loaded:
        while len(_loaded) >= _LOADED_MODELS:
            del _loaded[next(iter(_loaded))]
        _loaded[key] = load()
        if context.get("device") != "cuda":
            same_digits()
    return _loaded[key]


def predict(frames: list[Frame], models: Sequence[Model], context: Context) -> list[list[PredictionResult]]:
    """For each model, a prediction or a failure for each frame.

    Which frames share a batch shows in the last digits (1e-15 eV/Å). So there are batches on a GPU or with several
    threads, where a repeat is no more exact than that; with one thread of a CPU, a frame's numbers do not depend on the
    frames it comes with.
    """
    hardware.set_threads(context)
    device = hardware.device(context)
    atoms = 0 if device == "cpu" and hardware.threads(context) == 1 else _BATCH_ATOMS.get(device, 256)
    return [_predict(frames, model, atoms) for model in models]


def _predict(frames: list[Frame], model: Model, atoms: int) -> list[PredictionResult]:
    results: list[PredictionResult | None] = [unfit(frame, model.elements) for frame in frames]
    good = [i for i, result in enumerate(results) if result is None]
    for batch in _batches(good, frames, atoms):
        for index, result in zip(batch, apart([frames[i] for i in batch], model.forward, _too_large), strict=True):
            results[index] = result
    return [result for result in results if result is not None]


def results(
    frames: list[Frame], energies: list[float], forces: Sequence[torch.Tensor], stresses: Sequence[torch.Tensor]
) -> list[PredictionResult]:
    """A batch's numbers, frame by frame; a stress (3x3) counts where a frame is periodic in all three directions."""
    found: list[PredictionResult] = []
    for index, frame in enumerate(frames):
        stress = voigt.from_matrix(stresses[index].tolist()) if voigt.is_defined(frame["pbc"]) else None
        label = labels.label(frame, energies[index], forces[index].tolist(), stress, "")
        found.append(cast("PredictionResult", {key: value for key, value in label.items() if key != "code"}))
    return found


def _batches(indices: Sequence[int], frames: list[Frame], atoms: int) -> Iterator[list[int]]:
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


def _too_large(error: Exception, frame: Frame) -> Failure | None:
    """The failure of a frame that does not fit into memory; None for another kind of error."""
    if not (isinstance(error, RuntimeError) and is_out_of_memory(error)):
        return None
    return failure("out-of-memory", f"{len(frame['symbols'])} atoms do not fit into the memory")
