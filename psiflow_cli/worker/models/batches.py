"""Many frames at once: batches that fit into memory, graphs made ahead of the model, and frames that fail alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar, cast

from psiflow_cli import voigt
from psiflow_cli.worker.failures import failure, is_out_of_memory
from psiflow_cli.worker.models import hardware
from psiflow_cli.worker.models.batching.batch_size import BatchSize
from psiflow_cli.worker.models.calculators import same_digits
from psiflow_cli.worker.models.predictions import apart, unfit
from psiflow_cli.worker.structures import labels

if TYPE_CHECKING:
    import numpy as np
    import torch
    from ase.calculators.calculator import Calculator

    from psiflow_cli.messages import Context, Failure, Frame, PredictionResult

Graph: TypeAlias = "Mapping[str, np.ndarray | torch.Tensor]"
"""A frame as its model takes it, on the host; `edge_index` has the pairs of neighbours, shape (2, E), `ATOMS` a row
for each atom."""
ATOMS = "atoms"
T = TypeVar("T")

_LOADED_MODELS = 16
_CHUNK = 8  # frames whose graphs a thread makes in one go
_THREADS = 8  # more are idle: a part of the work waits for Python's lock
_loaded: dict[tuple[str, float, str, str, str], Model] = {}


@dataclass(frozen=True)
class Model:
    """A loaded model as `predict` and `describe` need it."""

    calculator: Calculator
    elements: frozenset[str]
    graph: Callable[[Frame], Graph]
    """Called by several threads at once."""
    forward: Callable[[list[Frame], list[Graph]], list[PredictionResult]]
    """A prediction or a failure for each frame of a batch; RuntimeError where it does not fit into memory."""
    describe: Callable[[list[Frame], list[Graph]], list[np.ndarray]]
    """The features of the atoms of each frame, each of shape (atoms, width)."""
    size: BatchSize
    graphs: object = None
    """What decides how a frame's graph looks: models that have the same share it; None: nobody else's."""


def load_once(path: Path, context: Context, load: Callable[[], Model]) -> Model:
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
    if len(models) > 1 and (models[0].graphs is None or any(each.graphs != models[0].graphs for each in models)):
        return [_computed(frames, [each], [each.forward], context)[0] for each in models]
    return _computed(frames, models, [each.forward for each in models], context)


def describe(frames: list[Frame], model: Model, context: Context) -> list[np.ndarray | Failure]:
    """The features of each frame's atoms, shape (atoms, width), or a failure; in batches as in `predict`."""
    hardware.set_threads(context)
    return _computed(frames, [model], [model.describe], context)[0]


def _computed(
    frames: list[Frame], models: Sequence[Model], functions: Sequence[Callable[[list[Frame], list[Graph]], list[T]]],
    context: Context,
) -> list[list[T | Failure]]:  # fmt: skip
    """What each model's function returns for each frame; the models share graphs."""
    problems = [unfit(frame, models[0].elements) for frame in frames]
    results: list[list[T | Failure | None]] = [list(problems) for _ in models]
    good = [i for i, problem in enumerate(problems) if problem is None]
    alone = hardware.device(context) == "cpu" and hardware.threads(context) == 1
    if not alone:
        good.sort(key=lambda i: len(frames[i]["symbols"]))  # so that batches are even
    for batch in _batches(_graphs(frames, good, models[0], context), models, alone):
        for of_model, model, function in zip(results, models, functions, strict=True):
            compute = _Compute(frames, model, function)
            for (index, _), result in zip(batch, apart(batch, compute, compute.too_large), strict=True):
                of_model[index] = result
    return [[result for result in of_model if result is not None] for of_model in results]


@dataclass(frozen=True)
class _Compute(Generic[T]):
    """A model's function on some frames, by their places, with their graphs."""

    frames: list[Frame]
    model: Model
    function: Callable[[list[Frame], list[Graph]], list[T]]

    def __call__(self, batch: list[tuple[int, Graph]]) -> list[T]:
        size = sum(_size(graph) for _, graph in batch)
        try:
            with self.model.size.measured(size):
                return self.function([self.frames[index] for index, _ in batch], [graph for _, graph in batch])
        except RuntimeError as error:
            if is_out_of_memory(error):
                self.model.size.was_too_large(size)
            raise

    def too_large(self, error: Exception, item: tuple[int, Graph]) -> Failure | None:
        """The failure of a frame that does not fit into memory; None for another kind of error."""
        return too_large(error, self.frames[item[0]])


def too_large(error: Exception, frame: Frame) -> Failure | None:
    """The failure of a frame that does not fit into memory; None for another kind of error."""
    if not (isinstance(error, RuntimeError) and is_out_of_memory(error)):
        return None
    return failure("out-of-memory", f"a frame of {len(frame['symbols'])} atoms does not fit into memory")


def _size(graph: Graph) -> int:
    return int(graph["edge_index"].shape[1] + graph[ATOMS].shape[0])


def _batches(
    graphs: Iterator[tuple[int, Graph]], models: Sequence[Model], alone: bool
) -> Iterator[list[tuple[int, Graph]]]:
    """As many graphs together as all models can compute, or one that is larger."""
    batch: list[tuple[int, Graph]] = []
    held = 0
    for index, graph in graphs:
        size = _size(graph)
        if batch and (alone or held + size > min(model.size.most for model in models)):
            yield batch
            batch, held = [], 0
        batch.append((index, graph))
        held += size
    if batch:
        yield batch


def _graphs(frames: list[Frame], places: list[int], model: Model, context: Context) -> Iterator[tuple[int, Graph]]:
    """The graphs of frames in turn; for a GPU, threads make those of two more batches meanwhile."""
    if hardware.device(context) == "cpu":  # where the model keeps the processors busy
        yield from ((i, model.graph(frames[i])) for i in places)
        return

    def some(chunk: list[int]) -> list[tuple[int, Graph]]:
        return [(i, model.graph(frames[i])) for i in chunk]

    chunks = iter([places[first : first + _CHUNK] for first in range(0, len(places), _CHUNK)])
    threads = min(hardware.threads(context), _THREADS)
    ahead: deque[Future[list[tuple[int, Graph]]]] = deque()
    pool = ThreadPoolExecutor(threads)
    try:
        enough = threads
        while True:
            while len(ahead) < enough and (chunk := next(chunks, None)):
                ahead.append(pool.submit(some, chunk))
            if not ahead:
                return
            batch = ahead.popleft().result()
            yield from batch
            enough = max(threads, 2 * model.size.most // max(1, sum(_size(graph) for _, graph in batch)))
    finally:
        pool.shutdown(cancel_futures=True)


def by_frame(rows: torch.Tensor, frames: list[Frame]) -> tuple[torch.Tensor, ...]:
    """The rows of each frame's atoms, which stand one after the other, on the host."""
    import torch

    return torch.split(rows.detach().cpu(), [len(frame["symbols"]) for frame in frames])


def results(
    frames: list[Frame], energies: list[float], forces: Sequence[torch.Tensor], stresses: Sequence[torch.Tensor]
) -> list[PredictionResult]:
    """A batch's numbers, frame by frame; a stress (3x3) counts where a frame is periodic in all three directions."""
    predictions: list[PredictionResult] = []
    for index, frame in enumerate(frames):
        stress = voigt.from_matrix(stresses[index].tolist()) if voigt.is_defined(frame["pbc"]) else None
        label = labels.label(frame, energies[index], forces[index].tolist(), stress, "")
        predictions.append(cast("PredictionResult", {key: value for key, value in label.items() if key != "code"}))
    return predictions
