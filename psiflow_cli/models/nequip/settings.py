"""Hydra configurations as nested dicts: dotted paths, merging, and the interpolations that psiflow must understand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

Wire = dict[str, Any]

MODEL = "training_module.model"
_WHOLE = re.compile(r"\$\{([A-Za-z_][\w.]*)\}")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_DEFAULT_MONITOR = "val0_epoch/weighted_sum"


def get(config: Wire, path: str, default: Any = None) -> Any:
    """The value at a dotted path."""
    value: Any = config
    for key in path.split("."):
        if not isinstance(value, dict) or key not in value:
            return default
        value = value[key]
    return value


def put(config: Wire, path: str, value: Any) -> None:
    """Set the value at a dotted path."""
    *folders, last = path.split(".")
    for key in folders:
        inner = config.get(key)
        config[key] = config = dict(inner) if isinstance(inner, dict) else {}
    config[last] = value


def paths(config: Wire, prefix: str = "") -> Iterator[str]:
    """The dotted path of every value, inner ones included."""
    for key, value in config.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from paths(value, f"{prefix}{key}.")


def merged(base: Any, over: Any) -> Any:
    """`over` on top of `base`, dict by dict; what has another `_target_` takes the place of all there was."""
    if not (isinstance(base, dict) and isinstance(over, dict)):
        return over
    if "_target_" in over and over["_target_"] != base.get("_target_"):
        return over
    return {**base, **{key: merged(base.get(key), value) for key, value in over.items()}}


def resolved(config: Wire, value: Any) -> Any:
    """The value that `${path}` stands for; other interpolations stay as they are."""
    seen = set()
    while isinstance(value, str) and (match := _WHOLE.fullmatch(value)) and value not in seen:
        seen.add(value)
        value = get(config, match[1], value)
    if isinstance(value, list):
        return [resolved(config, each) for each in value]
    return value


def references(value: Any) -> Iterator[str]:
    """The first key of everything that is interpolated, also inside a resolver's arguments."""
    if isinstance(value, dict):
        for each in value.values():
            yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)
    elif isinstance(value, str):
        yield from (match[1] for match in re.finditer(r"\$\{([A-Za-z_]\w*)", value))


def with_numbers(value: Any) -> Any:
    """What YAML takes for a word although it is a number, such as 1e-3, as the number that NequIP reads."""
    if isinstance(value, dict):
        return {str(key): with_numbers(each) for key, each in value.items()}
    if isinstance(value, list):
        return [with_numbers(each) for each in value]
    if isinstance(value, str) and _NUMBER.fullmatch(value) and not value.isdigit():
        return float(value)
    return value


def model(config: Wire) -> Wire:
    """The model's own table, below any `nequip.model.modify`."""
    table: Wire = config["training_module"]["model"]
    while isinstance(table.get("model"), dict) and table.get("_target_") == "nequip.model.modify":
        table = table["model"]
    return table


def monitor(config: Wire) -> str:
    """The metric that tells the best epoch: that of the user's ModelCheckpoint or learning rate, if they name one."""
    watching = [each for each in get(config, "trainer.callbacks") or [] if isinstance(each, dict)]
    watching = [each for each in watching if str(each.get("_target_")).endswith(".ModelCheckpoint")]
    watching += [get(config, "training_module.lr_scheduler") or {}]
    named = [resolved(config, each["monitor"]) for each in watching if each.get("monitor")]
    return str(named[0]) if named else _DEFAULT_MONITOR
