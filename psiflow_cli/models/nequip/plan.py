"""The trainer's configuration: the user's Hydra YAML as it is, or psiflow's own defaults; then the user's `--set`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from psiflow_cli.elements import SYMBOLS
from psiflow_cli.errors import BadData, BadSettings, Refusal, UsageError, nearest
from psiflow_cli.models.nequip import checks, settings
from psiflow_cli.models.nequip.defaults import FILLED, NEQUIP, contradictions, defaults, tuned
from psiflow_cli.models.nequip.keys import (
    FILE_ENDINGS,
    INSTALLED,
    LOGGERS,
    NOT_READ,
    OWNED,
    PARTS,
    READ,
    SECTIONS,
    SHORT,
    TABLES,
)
from psiflow_cli.worker.training import several_gpus

if TYPE_CHECKING:
    from psiflow_cli.messages import Config, NamedFile, TrainingData


def configured(config: Config, options: dict[str, str], summary: TrainingData, architecture: Config) -> Config:
    """The configuration of `nequip-train` that decides the model, in NequIP's own names.

    `config` is the user's file, `options` the `--set` pairs, which win; both may use dotted paths and the names of
    `keys.SHORT`. See `protocols.Model.plan` for `summary`. Files, seed, device and transforms are filled in where the
    training runs. Raises BadSettings and, for an element without atomic energy, BadData.
    """
    refusals: list[Refusal] = []
    chosen = _chosen(config, options, refusals)
    as_given = bool(summary.get("as_given"))
    if as_given:
        planned = chosen
        planned.setdefault("run", ["train"])
        settings.put(planned, "data._target_", settings.get(planned, "data._target_", settings.DATA))
    else:
        planned = settings.merged(defaults(architecture, summary, chosen), chosen)
    refusals += [*checks.missing(planned, summary), *checks.unknown(planned)]
    if "init" in summary:
        refusals += contradictions(chosen, summary["init"])
    if refusals:
        raise BadSettings(refusals)
    if "init" in summary:
        planned = tuned(planned, chosen, summary["init"], as_given)
    _fill(planned, summary, as_given)
    if refusals := checks.refusals(planned, summary):
        raise BadSettings(refusals)
    try:
        copy: Config = json.loads(json.dumps(planned, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise UsageError(f"NequIP cannot read the configuration: {error}") from None
    return copy


def epochs(config: Config) -> int:
    """How many epochs a configuration asks for."""
    return int(str(settings.resolved(config, config["trainer"]["max_epochs"])))


def _fill(planned: Config, summary: TrainingData, as_given: bool) -> None:
    """What psiflow owns: elements and the energies of their atoms; of its own defaults, what is not of one family."""
    model = settings.model(planned)
    if not as_given:
        planned["trainer"].setdefault("enable_progress_bar", False)
    if not as_given and summary.get("init") != {}:  # a bare model file knows by itself how it was built
        usual = {"model_dtype": summary.get("dtype") or "float32", "r_max": NEQUIP["r_max"], **FILLED}
        for key, value in usual.items():
            model.setdefault(key, value)
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
        raise UsageError("--e0s init: this needs a model to start from", "give it with --init")
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


def _chosen(config: Config, options: dict[str, str], refusals: list[Refusal]) -> Config:
    """What the user asks for, as one nested dict in NequIP's own paths; `--set` wins.

    What is refused is left out and added to `refusals`.
    """
    chosen: Config = {}
    file = cast("Config", settings.with_numbers(config))
    used = set(settings.references(file)) | {name for text in options.values() for name in settings.references(text)}
    for key, value in file.items():
        is_variable = key in used and "." not in key and key not in SECTIONS
        _put(chosen, key if is_variable else _path(key, used), value, key, refusals)
    for key, text in options.items():
        is_variable = key in used and key in file and key not in SECTIONS
        _put(chosen, key if is_variable else _path(key, used), _parsed(text), key, refusals)
    refusals += [
        Refusal(path, f"{path}: psiflow sets this key of NequIP itself", OWNED[path])
        for path in settings.paths(chosen)
        if path in OWNED
    ]
    return chosen


def _put(chosen: Config, path: str | None, value: object, key: str, refusals: list[Refusal]) -> None:
    """Set what the user calls `key`; without a path, NequIP has nothing of that name."""
    if path is None:
        hint = nearest(key.partition(".")[0], [*SECTIONS, *SHORT, *PARTS])
        refusals.append(Refusal(key, f"{key}: NequIP's trainer has no such key", hint))
        return
    before = settings.get(chosen, path)
    if isinstance(value, dict) and isinstance(before, dict):
        value = settings.merged(before, value)
    if path in TABLES and not isinstance(value, dict):
        refusals.append(Refusal(key, f"{key}: {value!r} is not a table", "see NequIP's documentation"))
        return
    try:
        settings.put(chosen, path, value)
    except TypeError:
        refusals.append(
            Refusal(key, f"{key}: it lies below a key that is not a table", "give the whole table in one place")
        )


def _path(key: str, variables: set[str]) -> str | None:
    """The dotted path of a key; None if NequIP has none of that name."""
    first, dot, rest = key.partition(".")
    if not dot and first in SHORT:
        return SHORT[first]
    if first in PARTS:
        return f"{PARTS[first]}{dot}{rest}"
    return key if key in OWNED or first in SECTIONS or first in variables else None


def _parsed(text: str) -> object:
    """A value from `--set`: a number, or as YAML reads it."""
    import yaml

    try:
        return settings.with_numbers(yaml.safe_load(text))
    except yaml.YAMLError:
        return text


def named_files(config: Config, options: dict[str, str]) -> list[NamedFile]:
    """Files and the user's own modules that the settings name, but for data; see `protocols.NamesFiles`."""
    texts = [*settings.strings(config)]
    texts += [text for key, value in options.items() for text in settings.strings(_parsed(value), key)]
    modules: list[NamedFile] = [
        {"setting": path, "name": text.partition(".")[0], "module": True}
        for path, text in texts
        if path.endswith("_target_") and text.partition(".")[0] not in INSTALLED
    ]
    return modules + [{"setting": path, "name": text, "module": False} for path, text in texts if _is_read(path, text)]


def _is_read(path: str, text: str) -> bool:
    """Whether a setting names a file to read that psiflow does not give itself."""
    key = path.rpartition(".")[2]
    if path.startswith("data") or path in OWNED or "$" in text or key in NOT_READ or key == "_target_":
        return False
    return key in READ or key.endswith(("_path", "_file")) or text.endswith(FILE_ENDINGS)


def packages(planned: Config) -> dict[str, str]:
    """The packages that loggers and objects of others need; see `protocols.NeedsMore`."""
    needed: dict[str, str] = {}
    for path, text in settings.strings(planned):
        if path.endswith("_target_"):
            what = path.removesuffix("._target_")
            needed.setdefault(text.partition(".")[0], f"{what} ({text})")
            name = text.rpartition(".")[2]
            if name in LOGGERS:
                needed.setdefault(LOGGERS[name], f"{what} ({name})")
    return {module: what for module, what in needed.items() if module not in INSTALLED}


def notes(planned: Mapping[str, object], summary: TrainingData) -> list[str]:
    """What works, but may not be meant; NequIP's loaders give what frames there are."""
    batch = settings.resolved(planned, settings.get(planned, SHORT["batch_size"]))
    rate = settings.resolved(planned, settings.get(planned, SHORT["lr"]))
    lines = several_gpus.notes(summary.get("gpus", 1), batch, rate)
    if isinstance(batch, int) and batch > checks.share(summary):
        lines.append(f"{checks.larger(batch, summary)}: an epoch is one step")
    loss = str(settings.get(planned, "training_module.loss._target_") or "").rpartition(".")[2]
    some_stress = bool(summary.get("some_stress") or summary["stress"])
    if "Stress" in loss and not some_stress:
        lines.append(f"loss: {loss}, but no frame has a stress that can be used")
    if loss == "EnergyForceLoss" and some_stress:
        lines.append(f"loss: {loss} ignores the stresses of the frames")
    loggers = settings.get(planned, "trainer.logger")
    for logger in loggers if isinstance(loggers, list) else [loggers]:
        where = str(logger.get("save_dir", ".")) if isinstance(logger, dict) else "/"
        if isinstance(logger, dict) and not where.startswith("/"):
            name = str(logger.get("_target_")).rpartition(".")[2]
            lines.append(f"{name} writes to {where} in OUTPUT.run/work/*/member-*/")
    return lines
