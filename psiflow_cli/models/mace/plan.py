"""The trainer's configuration: good small defaults, then the user's file, then the user's `--set`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

from psiflow_cli.elements import SYMBOLS
from psiflow_cli.errors import BadData, UsageError, nearest
from psiflow_cli.models.mace.options import KINDS, OLD_NAMES, OWNED, Value
from psiflow_cli.models.mace.tuning import check, tuned

if TYPE_CHECKING:
    from psiflow_cli.messages import Config, TrainingData

T = TypeVar("T")

_LOSSES_OF_STRESS = ("stress", "virials", "huber", "universal")
STEPS = 20_000
"""How many optimiser steps a training takes by default; on one core of 2023 and 3BPA, about half an hour."""


def plan(config: Config, options: dict[str, str], summary: TrainingData) -> Config:
    """The configuration of `mace_run_train` that decides the model, in MACE's own names; see `protocols.Model.plan`.

    Files, seed and device are filled in where the training runs. Raises UsageError and, for missing energies, BadData.
    """
    chosen: Config = {**_chosen(config, _checked), **_chosen(options, _parsed)}
    check(chosen, summary)
    full: Config = {**_defaults(summary, chosen), **chosen, "E0s": _e0s(summary, summary["e0s"])}
    if "heads" in summary:
        # their files are filled in where the training runs
        full |= {
            "E0s": None,
            "heads": str({name: {"E0s": _e0s(summary, e0s)} for name, e0s in summary["heads"].items()}),
        }
    if "head" in summary:
        full["foundation_head"] = summary["head"]
    if "init" in summary:
        full = tuned(full, chosen, summary["init"])
    full.setdefault("default_dtype", summary.get("dtype") or "float64")
    if "hidden_irreps" in chosen:  # MACE would overrule it by these two
        for key in {"num_channels", "max_L"} - set(chosen):
            del full[key]
    if full.get("amsgrad") is False:
        raise UsageError("amsgrad: false is not possible, MACE's trainer always uses it", "use optimizer: schedulefree")
    if full.get("loss") == "virials" and _some_stress(summary):
        problem = "loss: virials counts nothing but virials, and psiflow gives MACE their stress, -virial/volume"
        raise UsageError(problem, "use loss: stress, which trains on the same numbers")
    batch = full["batch_size"] or 10  # the latter is MACE's own default
    if batch > summary["frames"]:
        raise UsageError(
            f"batch_size {batch} is larger than the training set ({summary['frames']} frames)",
            f"MACE drops incomplete batches: nothing would be trained; --set batch_size={summary['frames']} or less",
        )
    return {key: full[key] for key in sorted(full) if full[key] is not None}


def notes(config: Config, summary: TrainingData) -> list[str]:
    """What works, but may not be meant: MACE leaves a label that no frame has out of the loss without a word."""
    said = []
    if summary.get("init") == {}:
        how = ", ".join(
            f"{key} {config[key]:g}"
            for key in ("lr", "ema_decay", "clip_grad", "lora_rank", "freeze")
            if isinstance(config.get(key), (int, float))
        )
        said.append(f"fine-tuning of a model file, by default as MACE's guide advises: {how}")
    if config.get("loss") in _LOSSES_OF_STRESS and not _some_stress(summary):
        said += [f"loss: {config['loss']}, but no frame has a stress that can be used: energies and forces alone count"]
    return said


def _some_stress(summary: TrainingData) -> bool:
    return bool(summary.get("some_stress") or summary["stress"])


def epochs(config: Config) -> int:
    """How many epochs a configuration asks for."""
    return int(config.get("max_num_epochs", 2048))


def _defaults(summary: TrainingData, chosen: Config) -> Config:
    """Small enough for a laptop: two layers of 32 scalar channels, the energies brought in at the end."""
    frames = summary["frames"]
    batch = chosen.get("batch_size") or max(min(2, frames), min(16, frames // 90))
    epochs = chosen.get("max_num_epochs") or max(20, min(400, STEPS * batch // max(1, frames)))
    fewest = 4 if "init" in summary else 20
    two_stages = chosen.get("swa", "start_swa" in chosen or epochs >= fewest)
    defaults: Config = {
        "model": "MACE", "r_max": 5.0, "num_interactions": 2, "num_channels": 32, "max_L": 0, "max_ell": 3,
        "correlation": 3, "scaling": "rms_forces_scaling",
        "loss": "weighted", "energy_weight": 1.0, "forces_weight": 100.0,
        "batch_size": batch, "valid_batch_size": 2 * batch, "max_num_epochs": epochs, "swa": two_stages,
        "optimizer": "adam", "lr": 0.01, "amsgrad": True, "ema": True, "ema_decay": 0.99,
        "scheduler": "ReduceLROnPlateau", "scheduler_patience": max(5, epochs // 20),
        "save_cpu": True, "plot": False,  # the bundle has its own figures
    }  # fmt: skip
    if two_stages:
        defaults |= {"start_swa": max(1, epochs * 3 // 4), "swa_energy_weight": 1000.0, "swa_forces_weight": 100.0}
    if _some_stress(summary) and chosen.get("loss", "stress") == "stress":
        # Errors of stress are some meV/Å³, of forces some ten meV/Å: this weight makes the two comparable.
        defaults |= {"loss": "stress", "stress_weight": 1000.0, "swa_stress_weight": 1000.0}
    return defaults


def _e0s(summary: TrainingData, e0s: dict[str, float] | str) -> str:
    """The atomic energies as MACE reads them, a dict's text by atomic number, or the name of a way."""
    if isinstance(e0s, str):
        return {"init": "foundation"}.get(e0s, e0s)
    energies = {_number(key): float(value) for key, value in e0s.items()}
    missing = [symbol for symbol in summary["elements"] if _number(symbol) not in energies]
    if missing:
        raise BadData(
            f"no atomic energy for {', '.join(missing)}",
            "add one-atom frames of these elements (psiflow atomic-energies makes them), or give --e0s",
        )
    return "{" + ", ".join(f"{number}: {energies[number]!r}" for number in sorted(energies)) + "}"


def _number(element: str | int) -> int:
    text = str(element)
    return int(text) if text.isdigit() else SYMBOLS.index(text) + 1


def _chosen(settings: Mapping[str, T], read: Callable[[str, T], Value]) -> dict[str, Value]:
    """What one source says, under the names that psiflow writes; UsageError for one option under both its names."""
    chosen: dict[str, Value] = {}
    spellings: dict[str, str] = {}
    for key, value in settings.items():
        name = _name(key)
        if name in spellings:
            problem = f"{key} and {spellings[name]}: two names of one option of MACE's trainer"
            raise UsageError(problem, "give one of them")
        chosen[name], spellings[name] = read(key, value), key
    return chosen


def _name(key: str) -> str:
    """The option's name as psiflow writes it; UsageError if there is none or it is not the user's to set."""
    if key in OWNED:
        raise UsageError(f"{key}: psiflow sets this option of the trainer itself", OWNED[key])
    if key not in KINDS:
        problem = f"{key}: MACE's trainer has no such option"
        raise UsageError(problem, nearest(key, [k for k in KINDS if k not in OWNED]))
    return OLD_NAMES.get(key, key)


def _checked(key: str, value: object) -> Value:
    """A value from a file, of the kind that the option takes; None stands for the trainer's own default."""
    kind = KINDS[key]
    if key == "clip_grad" and value in (None, "None"):
        return "None"  # here it means: do not clip
    if value is None:
        return None
    if kind == "text":
        return value if isinstance(value, str) else repr(value)
    if kind == "float" and isinstance(value, str):
        return _parsed(key, value)  # YAML takes 1e-3 for a word
    if kind == "list" and isinstance(value, list):
        return value
    if kind == "bool" and isinstance(value, bool):
        return value
    kinds: tuple[type, ...] = {"int": (int,), "float": (int, float)}.get(kind, ())
    is_number = isinstance(value, kinds) and not isinstance(value, bool)
    if not isinstance(value, (int, float)) or not is_number or (kind == "float" and not math.isfinite(value)):
        raise UsageError(f"{key}: {value!r} is not {_A[kind]}", "see `mace_run_train --help`")
    if key in ("r_max", "max_num_epochs", "batch_size") and value <= 0:
        raise UsageError(f"{key}: {value!r} is not above zero", "see `mace_run_train --help`")
    return float(value) if kind == "float" else value


def _parsed(key: str, text: str) -> Value:
    """A value from `--set`, read as the kind that the option takes."""
    kind = KINDS[key]
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        text = text[1:-1]
    if text in ("null", "None", "~", ""):
        return _checked(key, None)
    if kind == "list":
        return [word.strip() for word in text.strip("[]").split(",")]
    try:
        if kind == "bool":
            return _TRUTH[text.lower()]
        value = int(text) if kind == "int" else float(text) if kind == "float" else text
    except (KeyError, ValueError):
        raise UsageError(f"{key}: {text!r} is not {_A[kind]}", "see `mace_run_train --help`") from None
    return _checked(key, value)


_A = {"bool": "true or false", "int": "an integer", "float": "a number", "list": "a list"}
_TRUTH = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
