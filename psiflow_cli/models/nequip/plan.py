"""The trainer's configuration: good small defaults, then the user's Hydra YAML, then the user's `--set`."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, cast

from psiflow_cli.elements import SYMBOLS
from psiflow_cli.errors import BadData, UsageError, nearest
from psiflow_cli.models.nequip import settings
from psiflow_cli.models.nequip.defaults import FILLED, NEQUIP, check_tuned, defaults, tuned
from psiflow_cli.models.nequip.keys import KNOWN, LOGGERS, OWNED, PARTS, SECTIONS, SHORT

if TYPE_CHECKING:
    from psiflow_cli.messages import Config, TrainingData


def configured(config: Config, options: dict[str, str], summary: TrainingData, architecture: Config) -> Config:
    """The configuration of `nequip-train` that decides the model, in NequIP's own names.

    `config` is the user's file, `options` the `--set` pairs, which win; both may use dotted paths and the names of
    `keys.SHORT`. See `protocols.Model.plan` for `summary`. Files, seed, device and transforms are filled in where the
    training runs. Raises UsageError and, for an element without atomic energy, BadData.
    """
    chosen = _chosen(config, options)
    if "init" in summary:
        check_tuned(chosen, summary["init"])
    planned = settings.merged(defaults(architecture, summary, chosen), chosen)
    if "init" in summary:
        planned = tuned(planned, chosen, summary["init"])
    _fill(planned, summary)
    _check(planned, summary)
    try:
        copy: Config = json.loads(json.dumps(planned, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise UsageError(f"the configuration holds what NequIP cannot read: {error}") from None
    return copy


def epochs(config: Config) -> int:
    """How many epochs a configuration asks for."""
    return int(str(settings.resolved(config, config["trainer"]["max_epochs"])))


def _fill(planned: Config, summary: TrainingData) -> None:
    """What psiflow knows: elements, the energies of their atoms, precision; and what NequIP computes of the data."""
    planned["trainer"].setdefault("enable_progress_bar", False)
    model = settings.model(planned)
    for key, value in FILLED.items():
        model.setdefault(key, value)
    model.setdefault("model_dtype", summary.get("dtype") or "float32")
    model.setdefault("r_max", NEQUIP["r_max"])
    model.setdefault("type_names", sorted(summary["elements"]))
    energies = _e0s(summary)
    if energies != "init":
        model["per_type_energy_shifts"] = energies
    stats = planned["data"].get("stats_manager")
    if isinstance(stats, dict):
        stats.setdefault("type_names", model["type_names"])


def _e0s(summary: TrainingData) -> object:
    """The atomic energies by symbol, `average`, or `init` for those of the model to start from."""
    e0s = summary["e0s"]
    if e0s == "estimated":
        raise UsageError("--e0s estimated: NequIP's trainer does not estimate them", "give the energies, or init")
    if e0s == "init" and "init" not in summary:
        raise UsageError("--e0s init: there is no model to start from", "name it with --init")
    if isinstance(e0s, str):
        return e0s
    energies = {_symbol(key): float(value) for key, value in e0s.items()}
    missing = [symbol for symbol in summary["elements"] if symbol not in energies]
    if missing:
        raise BadData(
            f"no atomic energy for {', '.join(missing)}",
            "add one-atom frames of these elements (psiflow atomic-energies makes them), or give --e0s",
        )
    return {symbol: energies[symbol] for symbol in sorted(summary["elements"])}


def _symbol(element: str | int) -> str:
    text = str(element)
    return SYMBOLS[int(text) - 1] if text.isdigit() else text


def _chosen(config: Config, options: dict[str, str]) -> Config:
    """What the user asks for, as one nested dict in NequIP's own paths; `--set` wins."""
    chosen: Config = {}
    file = cast("Config", settings.with_numbers(config))
    used = set(settings.references(file)) | {name for text in options.values() for name in settings.references(text)}
    for key, value in file.items():
        path = key if key in used and "." not in key and key not in SECTIONS else _path(key, used)
        _put(chosen, path, value, key)
    for key, text in options.items():
        path = key if key in used and key in file and key not in SECTIONS else _path(key, used)
        _put(chosen, path, _parsed(text), key)
    for path in settings.paths(chosen):
        _check_owned(path)
    return chosen


def _put(chosen: Config, path: str, value: object, key: str) -> None:
    before = settings.get(chosen, path)
    if isinstance(value, dict) and isinstance(before, dict):
        value = settings.merged(before, value)
    try:
        settings.put(chosen, path, value)
    except TypeError:
        raise UsageError(f"{key}: part of what is not a table", "give the whole table in one place") from None


def _path(key: str, variables: set[str]) -> str:
    """The dotted path of a key; UsageError if NequIP has none of that name or it is not the user's to set."""
    if key in OWNED:
        raise UsageError(f"{key}: psiflow sets this key of NequIP's itself", OWNED[key])
    first, dot, rest = key.partition(".")
    if not dot and first in SHORT:
        return SHORT[first]
    if first in PARTS:
        return f"{PARTS[first]}{dot}{rest}"
    if first in SECTIONS or first in variables:
        return key
    known = [*SECTIONS, *SHORT, *PARTS]
    raise UsageError(f"{key}: NequIP's trainer has no such key", nearest(first, known))


def _check_owned(path: str) -> None:
    if path in OWNED:
        raise UsageError(f"{path}: psiflow sets this key of NequIP's itself", OWNED[path])


def _parsed(text: str) -> object:
    """A value from `--set`: a number, or as YAML reads it."""
    import yaml

    try:
        return settings.with_numbers(yaml.safe_load(text))
    except yaml.YAMLError:
        return text


def notes(planned: Mapping[str, object], summary: TrainingData) -> list[str]:
    """What works, but may not be meant; NequIP's loaders give what frames there are."""
    said = []
    batch = settings.resolved(planned, settings.get(planned, SHORT["batch_size"]))
    if isinstance(batch, int) and batch > summary["frames"]:
        said.append(f"{_larger(batch, summary)}: an epoch is one step")
    loss = str(settings.get(planned, "training_module.loss._target_") or "").rpartition(".")[2]
    if "Stress" in loss and not (summary.get("some_stress") or summary["stress"]):
        said.append(f"loss: {loss}, but no frame has a stress that can be used")
    return said


def _larger(batch: int, summary: TrainingData) -> str:
    return f"batch_size {batch} is larger than the training set ({summary['frames']} frames)"


def _check(planned: Config, summary: TrainingData) -> None:
    """Raise UsageError, or BadData, for what cannot work, before anything is submitted."""
    if summary.get("weighted"):
        raise BadData(
            f"{summary['weighted']}, but NequIP's trainer has no weights of frames",
            "remove the key, leave the frame out, or give it more than once",
        )
    _check_names(planned, "")
    _check_numbers(planned)
    batch = settings.resolved(planned, settings.get(planned, SHORT["batch_size"]))
    drops = settings.resolved(planned, settings.get(planned, "data.train_dataloader.drop_last", False))
    if drops and isinstance(batch, int) and batch > summary["frames"]:
        raise UsageError(
            f"{_larger(batch, summary)}, and drop_last drops incomplete batches",
            f"nothing would be trained; use --set batch_size={summary['frames']} or less",
        )
    runs = settings.resolved(planned, planned["run"])
    if runs not in ("train", ["train"]):
        raise UsageError(f"run: {runs!r} is more than psiflow train does", "use psiflow evaluate on the test frames")
    if settings.get(planned, "data._target_") != "nequip.data.datamodule.ASEDataModule":
        raise UsageError("data._target_: psiflow gives the data as files to ASEDataModule", "leave it out")
    if settings.get(planned, "trainer.check_val_every_n_epoch", 1) != 1:
        raise UsageError("trainer.check_val_every_n_epoch: psiflow needs every epoch validated", "leave it out")
    if _names(planned, settings.model(planned)["type_names"]) != set(summary["elements"]) and "init" not in summary:
        raise UsageError("model.type_names: psiflow takes the elements of the data", "leave it out")
    target = str(settings.model(planned).get("_target_", ""))
    if target.rpartition(".")[2] in ("ModelFromPackage", "ModelFromCheckpoint"):
        raise UsageError("model._target_: psiflow starts from a model by itself", "use --init")
    loggers = planned["trainer"].get("logger")
    for logger in loggers if isinstance(loggers, list) else [loggers]:
        name = logger.get("_target_", "") if isinstance(logger, dict) else ""
        if name and not name.endswith(LOGGERS):
            raise UsageError(
                f"trainer.logger: {name} may need a network", "psiflow keeps the learning curve by itself: leave it out"
            )


def _names(planned: Mapping[str, object], value: object) -> set[str]:
    names = settings.resolved(planned, value)
    return set(map(str, names)) if isinstance(names, list) else set()


def _check_names(table: Mapping[str, object], prefix: str) -> None:
    """Keys that a known `_target_` does not take."""
    known = KNOWN.get(str(table.get("_target_")))
    for key, value in table.items():
        if known and key not in (*known, "_target_"):
            raise UsageError(f"{prefix}{key}: {table['_target_']} takes no such key", nearest(key, known))
        if isinstance(value, dict):
            _check_names(value, f"{prefix}{key}.")


_NUMBERS: dict[str, tuple[Callable[[object], bool], str]] = {
    "max_epochs": (lambda x: isinstance(x, int) and x > 0, "an integer above zero"),
    "batch_size": (lambda x: isinstance(x, int) and x > 0, "an integer above zero"),
    "lr": (lambda x: isinstance(x, (int, float)) and 0 < x < math.inf, "a number above zero"),
    "r_max": (lambda x: isinstance(x, (int, float)) and 0 < x < math.inf, "a number above zero"),
    "model_dtype": (lambda x: x in ("float32", "float64"), "float32 or float64"),
}


def _check_numbers(planned: Config) -> None:
    for name, (fits, what) in _NUMBERS.items():
        path = SHORT[name]
        table = settings.model(planned) if path.startswith(settings.MODEL) else None
        value = settings.resolved(planned, settings.get(planned, path) if table is None else table.get(name))
        # what NequIP computes by a resolver of its own is its own matter, but for the number of epochs
        computed = isinstance(value, str) and value.startswith("${") and name != "max_epochs"
        if value is None and name == "lr":
            continue
        if isinstance(value, bool) or not (computed or fits(value)):
            raise UsageError(f"{name}: {value!r} is not {what}", f"its place is {path}")
