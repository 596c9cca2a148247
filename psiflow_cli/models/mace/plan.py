"""The trainer's configuration: the user's file as it is, or psiflow's own defaults; then the user's `--set`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

from psiflow_cli.elements import SYMBOLS
from psiflow_cli.errors import BadData, BadSettings, Refusal, counted, nearest
from psiflow_cli.models.mace import options as known
from psiflow_cli.models.mace.options import ABOVE_ZERO, KINDS, NOT_NEGATIVE, OWNED, Value
from psiflow_cli.models.mace.tuning import contradictions, fine_tuning_refusals, tuned
from psiflow_cli.worker.training import several_gpus

if TYPE_CHECKING:
    from psiflow_cli.messages import Config, NamedFile, TrainingData

T = TypeVar("T")

_LOSSES_OF_STRESS = ("stress", "virials", "huber", "universal")
STEPS = 20_000
"""How many optimiser steps a training takes by default; on one core of 2023 and 3BPA, about half an hour."""
SIZES: dict[str, Config] = {
    "small": {"num_channels": 32, "max_L": 0},
    "medium": {"num_channels": 64, "max_L": 1},
    "large": {"num_channels": 128, "max_L": 1},
}
"""What decides the size of a model; the large one has MACE's own defaults."""


def plan(config: Config, options: dict[str, str], summary: TrainingData) -> Config:
    """The configuration of `mace_run_train` that decides the model, in MACE's own names; see `protocols.Model.plan`.

    Files, seed and device are filled in where the training runs. Raises BadSettings and, for missing energies, BadData.
    """
    refusals: list[Refusal] = []
    file = {key: value for key, value in config.items() if key not in options}
    chosen: Config = {**_chosen(file, _checked, refusals), **_chosen(options, _parsed, refusals)}
    refusals += [*_without_effect(chosen, summary), *fine_tuning_refusals(chosen, summary)]
    if "init" in summary:
        refusals += contradictions(chosen, summary["init"])
    if refusals:
        raise BadSettings(refusals)
    full: Config = {**({} if summary.get("as_given") else _defaults(summary, chosen)), **chosen, **_energies(summary)}
    if "init" in summary:
        full = tuned(full, chosen, summary["init"], as_given=bool(summary.get("as_given")))
    if "hidden_irreps" in chosen:  # MACE would overrule it by these two
        for key in {"num_channels", "max_L"} - set(chosen):
            full.pop(key, None)
    if refusals := _batch_refusals(full, summary):
        raise BadSettings(refusals)
    return {key: full[key] for key in sorted(full) if full[key] is not None}


def _without_effect(chosen: Config, summary: TrainingData) -> list[Refusal]:
    """What MACE would take and then not use, or use without the labels that it needs."""
    refusals = []
    for key, (value, why) in known.ONLY.items():
        if chosen.get(key, value) not in (value, None):
            refusals.append(Refusal(key, f"{key}: {str(chosen[key]).lower()} is not possible", why))
    for key, values in known.NEVER.items():
        if chosen.get(key) in values:
            refusals.append(Refusal(key, f"{key}: {chosen[key]} needs other labels", known.OTHER_LABELS))
    if chosen.get("loss") == "virials" and _some_stress(summary):
        problem = "loss: virials uses only virials, but psiflow gives MACE the stress, -virial/volume"
        refusals.append(Refusal("loss", problem, "use loss: stress, which trains on the same numbers"))
    return refusals


def _batch_refusals(full: Config, summary: TrainingData) -> list[Refusal]:
    """Where MACE would train on less than it is told, or on nothing."""
    batch = full.get("batch_size") or 10  # the latter is MACE's own default
    frames, gpus = summary["frames"], summary.get("gpus", 1)
    if min(frames, summary["valid_frames"]) < gpus:
        problem = f"{frames} training and {summary['valid_frames']} validation frames are too few for {gpus} GPUs"
        hint = "MACE splits the frames over the GPUs; set gpus in the [resources] of the site file"
        return [Refusal("batch_size", problem, hint)]
    share = frames // gpus
    if batch <= share:
        return []
    if gpus == 1:
        problem = f"batch_size {batch} is larger than the training set ({counted(frames, 'frame')})"
        hint = f"MACE drops incomplete batches, so nothing would be trained; use --set batch_size={frames} or less"
    else:
        whose = f"the share of each of {gpus} GPUs in the training set"
        problem = f"batch_size {batch} is larger than {whose} ({counted(share, 'frame')})"
        hint = f"batch_size counts per GPU; use --set batch_size={share} or less"
    return [Refusal("batch_size", problem, hint)]


def named_files(config: Config, options: dict[str, str]) -> list[NamedFile]:
    """The files that the options name; see `protocols.NamesFiles`."""
    named = {key: str(value) for key, value in {**config, **options}.items() if key in known.FILES and value}
    return [
        {"setting": key, "name": name, "module": False} for key, name in named.items() if name not in known.REPLAYED
    ]


def packages(config: Config) -> dict[str, str]:
    """The packages that the options need beside MACE; see `protocols.NeedsMore`."""
    needed = {module: key for key, module in known.PACKAGES.items() if config.get(key)}
    chosen = ((key, config.get(key)) for key in ("optimizer", "model"))
    return needed | {
        known.CHOSEN_PACKAGES[value]: f"{key}: {value}" for key, value in chosen if value in known.CHOSEN_PACKAGES
    }


def notes(config: Config, summary: TrainingData) -> list[str]:
    """What works, but may not be meant: labels that are left out of the loss without a word."""
    gpus, valid = summary.get("gpus", 1), summary["valid_frames"]
    notes = several_gpus.notes(gpus, config.get("batch_size"), config.get("lr"))
    if summary.get("init") == {} and not summary.get("as_given"):
        numbers = [(key, config.get(key)) for key in ("lr", "ema_decay", "clip_grad", "lora_rank", "freeze")]
        how = ", ".join(f"{key} {value:g}" for key, value in numbers if isinstance(value, (int, float)))
        notes.append(f"fine-tuning with the defaults that MACE's guide recommends: {how}")
    if valid % gpus:
        notes.append(f"MACE validates on {valid - valid % gpus} of {valid} frames: the same number on each GPU")
    loss = config.get("loss", "weighted")  # MACE's own default
    if loss in _LOSSES_OF_STRESS and not _some_stress(summary):
        notes.append(
            f"loss: {loss}, but no frame has a stress that can be used: only energies and forces are trained on"
        )
    if loss not in _LOSSES_OF_STRESS and _some_stress(summary):
        notes.append(f"loss: {loss} ignores the stresses of the frames")
    dtype, wanted = config.get("default_dtype", "float64"), summary.get("dtype", "")
    if wanted not in ("", dtype):
        notes.append(f"trained in {dtype}, not in {wanted} as the site asks")
    if config.get("wandb") and not str(config.get("wandb_dir", "")).startswith("/"):
        notes.append(f"wandb writes to {config.get('wandb_dir', 'wandb')} in OUTPUT.run/work/*/member-*/")
    return notes


def _some_stress(summary: TrainingData) -> bool:
    return bool(summary.get("some_stress") or summary["stress"])


def epochs(config: Config) -> int:
    """How many epochs a configuration asks for."""
    return int(config.get("max_num_epochs", 2048))


def stage_two(config: Config) -> int | None:
    """The first epoch of stage two, counted from 0 as MACE does."""
    return int(config.get("start_swa", max(1, epochs(config) // 4 * 3))) if config.get("swa") else None


def _defaults(summary: TrainingData, chosen: Config) -> Config:
    """Two layers of channels as the size has them, and the energies brought in at the end; see docs/training.md."""
    frames = summary["frames"]
    batch, of_one_gpu = (
        chosen.get("batch_size") or max(min(2, share), min(16, share // 90))
        for share in (frames // summary.get("gpus", 1), frames)
    )
    epochs = chosen.get("max_num_epochs") or max(20, min(400, STEPS * of_one_gpu // max(1, frames)))
    fewest = 4 if "init" in summary else 20
    two_stages = chosen.get("swa", "start_swa" in chosen or epochs >= fewest)
    defaults: Config = {
        "model": "MACE", "r_max": 5.0, "num_interactions": 2, **SIZES[summary.get("size", "small")], "max_ell": 3,
        "correlation": 3, "scaling": "rms_forces_scaling", "default_dtype": summary.get("dtype") or "float64",
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


def _energies(summary: TrainingData) -> Config:
    """Energies of isolated atoms, and the heads that have some of their own."""
    energies: Config = {"foundation_head": summary["head"]} if "head" in summary else {}
    if "heads" in summary:  # their files are filled in where the training runs
        heads = {name: {"E0s": _e0s(summary, e0s)} for name, e0s in summary["heads"].items()}
        return {**energies, "heads": str(heads)}
    return {**energies, "E0s": _e0s(summary, summary["e0s"])}


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


def _chosen(settings: Mapping[str, T], read: Callable[[str, T], Value], refusals: list[Refusal]) -> Config:
    """What one source says, under the names that psiflow writes; what is refused is added to `refusals`."""
    chosen: Config = {}
    spellings: dict[str, str] = {}
    for key, value in settings.items():
        name = known.OLD_NAMES.get(key, key)
        if key in OWNED:
            refusals.append(Refusal(key, f"{key}: psiflow sets this option of the trainer itself", OWNED[key]))
        elif key in known.UNUSED:
            refusals.append(Refusal(key, f"{key}: would have no effect", known.UNUSED[key]))
        elif key not in KINDS:
            hint = nearest(key, [k for k in KINDS if k not in OWNED and k not in known.UNUSED])
            refusals.append(Refusal(key, f"{key}: MACE's trainer has no such option", hint))
        elif name in spellings:
            problem = f"{key} and {spellings[name]}: two names of the same option of MACE's trainer"
            refusals.append(Refusal(key, problem, "give one of them"))
        else:
            spellings[name] = key
            try:
                chosen[name] = read(key, value)
            except ValueError as error:
                refusals.append(Refusal(key, f"{key}: {error}", "see `mace_run_train --help`"))
    return chosen


def _checked(key: str, value: object) -> Value:
    """A value from a file, of the kind that the option takes; None stands for the trainer's own default.

    As MACE's trainer does, it takes text for what it reads as. Raises ValueError, which says what is wrong.
    """
    kind = KINDS[key]
    if key == "clip_grad" and value in (None, "None"):
        return "None"  # here it means: do not clip
    if value is None:
        return None
    if kind == "text":
        return value if isinstance(value, str) else repr(value)
    if isinstance(value, str):
        return _parsed(key, value)
    if kind == "list" and isinstance(value, list):
        return value
    if kind == "bool" and (isinstance(value, bool) or value in (0, 1)):
        return bool(value)
    kinds: tuple[type, ...] = {"int": (int,), "float": (int, float)}.get(kind, ())
    is_number = isinstance(value, kinds) and not isinstance(value, bool)
    if not isinstance(value, (int, float)) or not is_number or (kind == "float" and not math.isfinite(value)):
        raise ValueError(f"{value!r} is not {_A[kind]}")
    name = known.OLD_NAMES.get(key, key)
    if name in ABOVE_ZERO and value <= 0:
        raise ValueError(f"{value!r} is not above zero")
    if name in NOT_NEGATIVE and value < 0:
        raise ValueError(f"{value!r} is below zero")
    return float(value) if kind == "float" else value


def _parsed(key: str, text: str) -> Value:
    """A value from `--set`, read as the kind that the option takes. Raises ValueError, which says what is wrong."""
    kind = KINDS[key]
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        text = text[1:-1]
    if text in ("null", "None", "~", ""):
        return _checked(key, None)
    if kind == "list":
        return [word.strip() for word in text.strip("[]").split(",")]
    if kind == "text":
        return text
    try:
        value = _TRUTH[text.lower()] if kind == "bool" else int(text) if kind == "int" else float(text)
    except (KeyError, ValueError):
        raise ValueError(f"{text!r} is not {_A[kind]}") from None
    return _checked(key, value)


_A = {"bool": "true or false", "int": "an integer", "float": "a number", "list": "a list"}
_TRUTH = dict.fromkeys(("true", "yes", "on", "t", "y", "1"), True)
_TRUTH |= dict.fromkeys(("false", "no", "off", "f", "n", "0"), False)
