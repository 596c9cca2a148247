"""What is refused of a configuration, all of it at once, before anything is submitted."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from psiflow_cli.errors import BadData, Refusal, counted, nearest
from psiflow_cli.models.nequip import settings
from psiflow_cli.models.nequip.keys import KNOWN, NEEDED, NEEDED_TO_BUILD, SHORT

if TYPE_CHECKING:
    from psiflow_cli.messages import Config, TrainingData


_COMPLETE = "add it, or give single settings with --set instead of a file; psiflow's defaults supply the rest"


def missing(planned: Config, summary: TrainingData) -> list[Refusal]:
    """What NequIP cannot do without and has no default for."""
    built = settings.architecture(planned)
    class_path = str(built.get("_target_"))
    refusals = []
    if class_path.rpartition(".")[2] in ("ModelFromPackage", "ModelFromCheckpoint"):
        problem = "model._target_: psiflow sets this when it starts from a model"
        refusals.append(Refusal(f"{settings.MODEL}._target_", problem, "use --init"))
    has_model = "init" in summary or bool(refusals)
    is_known = bool(summary.get("as_given")) and not has_model and class_path in KNOWN
    for path in (*NEEDED, *(NEEDED_TO_BUILD if is_known else ())):
        table, _, key = path.rpartition(".")
        is_models = table == settings.MODEL
        inside = built if is_models else settings.table(planned, table)
        if inside.get(key) is None and not (is_models and has_model):
            refusals.append(Refusal(path, f"{path}: missing, and NequIP has no default for it", _COMPLETE))
    return refusals


def refusals(planned: Config, summary: TrainingData) -> list[Refusal]:
    """Values that are wrong or that psiflow cannot train with. Raises BadData for weights of frames."""
    if summary.get("weighted"):
        raise BadData(
            f"{summary['weighted']}, but NequIP's trainer has no weights of frames",
            "remove the key, leave the frame out, or give it more than once",
        )
    return [*_numbers(planned), *_batch(planned, summary), *_other_refusals(planned, summary)]


def larger(batch: int, summary: TrainingData) -> str:
    """That a batch is larger than the data."""
    whose = (
        f"the share of each of {gpus} GPUs in the training set" if (gpus := summary.get("gpus")) else "the training set"
    )
    return f"batch_size {batch} is larger than {whose} ({counted(share(summary), 'frame')})"


def share(summary: TrainingData) -> int:
    """How many frames a GPU takes in an epoch: Lightning repeats some where they cannot be divided."""
    return math.ceil(summary["frames"] / summary.get("gpus", 1))


def unknown(table: Mapping[str, object], prefix: str = "") -> Iterator[Refusal]:
    """Keys that a known `_target_` does not take."""
    known = KNOWN.get(str(table.get("_target_")))
    for key, value in table.items():
        if known and key not in (*known, "_target_"):
            problem = f"{prefix}{key}: {table['_target_']} has no such key"
            yield Refusal(f"{prefix}{key}", problem, nearest(key, known))
        if isinstance(value, dict):
            yield from unknown(value, f"{prefix}{key}.")


_NUMBERS: dict[str, tuple[Callable[[object], bool], str]] = {
    "max_epochs": (lambda x: isinstance(x, int) and x > 0, "an integer above zero"),
    "batch_size": (lambda x: isinstance(x, int) and x > 0, "an integer above zero"),
    "lr": (lambda x: isinstance(x, (int, float)) and 0 < x < math.inf, "a number above zero"),
    "r_max": (lambda x: isinstance(x, (int, float)) and 0 < x < math.inf, "a number above zero"),
    "model_dtype": (lambda x: x in ("float32", "float64"), "float32 or float64"),
}


def _numbers(planned: Config) -> Iterator[Refusal]:
    for name, (fits, what) in _NUMBERS.items():
        path = SHORT[name]
        table = settings.model(planned) if path.startswith(settings.MODEL) else None
        value = settings.resolved(planned, settings.get(planned, path) if table is None else table.get(name))
        # what NequIP computes by a resolver of its own is its own matter, but for the number of epochs
        computed = isinstance(value, str) and value.startswith("${") and name != "max_epochs"
        if value is None and name != "max_epochs":
            continue  # NequIP's own default, or the model to start from has it
        if isinstance(value, bool) or not (computed or fits(value)):
            yield Refusal(path, f"{name}: {value!r} is not {what}", f"use {path} instead")


def _batch(planned: Config, summary: TrainingData) -> Iterator[Refusal]:
    batch = settings.resolved(planned, settings.get(planned, SHORT["batch_size"]))
    drops = settings.resolved(planned, settings.get(planned, "data.train_dataloader.drop_last", False))
    if drops and isinstance(batch, int) and batch > share(summary):
        problem = f"{larger(batch, summary)}, but drop_last drops incomplete batches"
        hint = f"nothing would be trained; use --set batch_size={share(summary)} or less"
        yield Refusal(SHORT["batch_size"], problem, hint)


def _other_refusals(planned: Config, summary: TrainingData) -> Iterator[Refusal]:
    runs = settings.resolved(planned, planned["run"])
    if runs not in ("train", ["train"]):
        yield Refusal("run", f"run: psiflow train does not run {runs!r}", "use psiflow evaluate on the test frames")
    path = "data._target_"
    if settings.get(planned, path) != settings.DATA:
        yield Refusal(path, f"{path}: psiflow passes the data to ASEDataModule as files", "leave it out")
    path = "trainer.check_val_every_n_epoch"
    if settings.get(planned, path, 1) != 1:
        yield Refusal(path, f"{path}: psiflow needs a validation in every epoch", "leave it out")
    model = settings.model(planned)
    names = settings.resolved(planned, model.get("type_names", summary["elements"]))
    is_same = isinstance(names, list) and set(map(str, names)) == set(summary["elements"])
    if not is_same and "init" not in summary:
        path = f"{settings.MODEL}.type_names"
        yield Refusal(path, "model.type_names: psiflow takes the elements from the data", "leave it out")
    path = "training_module.val_metrics.coeffs.stress_rmse"
    if settings.get(planned, path) is not None and not summary.get("valid_stress", True):
        problem = f"{path}: no validation frame has a stress, so the metric would be NaN"
        yield Refusal(path, problem, "set it to null, or add frames with a stress")
