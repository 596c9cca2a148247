"""Hydra configurations as nested dicts: dotted paths, merging, and the interpolations that psiflow must understand."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from psiflow_cli.messages import Config

MODEL = "training_module.model"
DATA = "nequip.data.datamodule.ASEDataModule"
_WHOLE = re.compile(r"\$\{([A-Za-z_][\w.]*)\}")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_DEFAULT_MONITOR = "val0_epoch/weighted_sum"


def get(config: Mapping[str, object], path: str, default: object = None) -> object:
    """The value at a dotted path."""
    value: object = config
    for key in path.split("."):
        if not isinstance(value, dict) or key not in value:
            return default
        value = value[key]
    return value


def table(config: Mapping[str, object], path: str) -> Config:
    """The table at a dotted path; an empty one where there is none."""
    value = get(config, path)
    return value if isinstance(value, dict) else {}


def put(config: Config, path: str, value: object) -> None:
    """Set the value at a dotted path."""
    *folders, last = path.split(".")
    for key in folders:
        inner = config.get(key)
        config[key] = config = dict(inner) if isinstance(inner, dict) else {}
    config[last] = value


def paths(config: Mapping[str, object], prefix: str = "") -> Iterator[str]:
    """The dotted path of every value, inner ones included."""
    for key, value in config.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from paths(value, f"{prefix}{key}.")


def merged(base: Config, over: Config) -> Config:
    """`over` on top of `base`, dict by dict; what has another `_target_` takes the place of all there was."""
    if "_target_" in over and over["_target_"] != base.get("_target_"):
        return over
    values = {**base, **over}
    for key in base.keys() & over.keys():
        if isinstance(base[key], dict) and isinstance(over[key], dict):
            values[key] = merged(base[key], over[key])
    return values


def resolved(config: Mapping[str, object], value: object) -> object:
    """The value that `${path}` stands for; other interpolations stay as they are."""
    seen = set()
    while isinstance(value, str) and (match := _WHOLE.fullmatch(value)) and value not in seen:
        seen.add(value)
        value = get(config, match[1], value)
    if isinstance(value, list):
        return [resolved(config, each) for each in value]
    if isinstance(value, dict):
        return {key: resolved(config, each) for key, each in value.items()}
    return value


def references(value: object) -> Iterator[str]:
    """The first key of everything that is interpolated, also inside a resolver's arguments."""
    if isinstance(value, dict):
        for each in value.values():
            yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)
    elif isinstance(value, str):
        yield from (match[1] for match in re.finditer(r"\$\{([A-Za-z_]\w*)", value))


def with_numbers(value: object) -> object:
    """What YAML takes for a word although it is a number, such as 1e-3, as the number that NequIP reads."""
    if isinstance(value, dict):
        return {str(key): with_numbers(each) for key, each in value.items()}
    if isinstance(value, list):
        return [with_numbers(each) for each in value]
    if isinstance(value, str) and _NUMBER.fullmatch(value) and not value.isdigit():
        return float(value)
    return value


def model(config: Config) -> Config:
    """The model's own table, below any `nequip.model.modify`."""
    table: Config = config["training_module"]["model"]
    while isinstance(table.get("model"), dict) and table.get("_target_") == "nequip.model.modify":
        table = table["model"]
    return table


def architecture(config: Config) -> Config:
    """The model's own table as far as a configuration has one, with what its interpolations stand for."""
    built = model(config) if isinstance(table(config, "training_module").get("model"), dict) else {}
    resolved_table = resolved(config, built)
    return resolved_table if isinstance(resolved_table, dict) else {}


def strings(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    """Every text in a configuration with its dotted path, those in lists under the path of the list."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from strings(each, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for each in value:
            yield from strings(each, path)
    elif isinstance(value, str):
        yield path, value


def monitor(config: Mapping[str, object]) -> str:
    """The metric that tells the best epoch: that of the user's ModelCheckpoint or learning rate, if they name one."""
    return str(resolved(config, _watching(config)["monitor"]))


def is_highest_best(config: Mapping[str, object]) -> bool:
    """Whether the highest value of that metric is the best."""
    watching = _watching(config)
    return resolved(config, watching.get("mode") or table(watching, "scheduler").get("mode")) == "max"


def _watching(config: Mapping[str, object]) -> Config:
    callbacks = get(config, "trainer.callbacks")
    watching = [each for each in callbacks if isinstance(each, dict)] if isinstance(callbacks, list) else []
    watching = [each for each in watching if str(each.get("_target_")).endswith(".ModelCheckpoint")]
    watching += [table(config, "training_module.lr_scheduler"), {"monitor": _DEFAULT_MONITOR}]
    return next(each for each in watching if each.get("monitor"))
