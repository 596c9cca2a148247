"""The trainer's configuration as a file for `--config`: YAML, a key a line, what the user chose marked."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from psiflow_cli.errors import BadSettings
from psiflow_cli.stages.train import config as trainers_file
from psiflow_cli.stages.train.request import Training

if TYPE_CHECKING:
    from psiflow_cli.messages import Config, TrainingData


def as_yaml(training: Training, config: Config, summary: TrainingData) -> str:
    """What `--config` takes for this very configuration; what psiflow fills in anyway stands in comments."""
    own = _without_filled(training, config, summary)
    text = _dumped(own) if own else "{}\n"
    lines = text.splitlines()
    for path, number in trainers_file.lines_of_yaml(text).items():
        if whose := _whose(path, training):
            lines[number - 1] += f"  # {whose}"
    if filled := _only_in_first(config, own):
        lines += ["# psiflow fills in:", *(f"#   {line}" for line in _dumped(filled).splitlines())]
    return "\n".join(lines)


def _without_filled(training: Training, config: Config, summary: TrainingData) -> Config:
    """The configuration without the keys that the family refuses in a file, since psiflow decides them."""
    own: Config = copy.deepcopy(config)
    while True:
        try:
            training.module.plan(copy.deepcopy(own), {}, {**summary, "as_given": True})
        except BadSettings as error:
            removed = [_removed(own, refusal.key.split(".")) for refusal in error.refusals]
            if any(removed):
                continue
        return own


def _removed(table: Config, path: list[str]) -> bool:
    """Whether the key was there to be removed."""
    *above, last = path
    for name in above:
        table = cast("Config", table.get(name)) if isinstance(table.get(name), dict) else {}
    return table.pop(last, None) is not None


def _only_in_first(whole: Mapping[str, object], part: Mapping[str, object]) -> Config:
    """What only the whole has."""
    difference: Config = {}
    for key, value in whole.items():
        if key not in part:
            difference[key] = value
        elif isinstance(value, dict) and (inner := _only_in_first(value, cast("Config", part[key]))):
            difference[key] = inner
    return difference


def _whose(path: str, training: Training) -> str:
    """Where the user set a key, or an outer one of it; "" for a default."""
    if trainers_file.named(path, training.settings):
        return "--set"
    return training.config.name if training.config.name and path in training.config.lines else ""


def _dumped(table: Config) -> str:
    import yaml

    class Dumper(yaml.SafeDumper):
        """Lists of plain values on one line."""

    def lists(dumper: yaml.SafeDumper, values: list[object]) -> yaml.Node:
        is_plain = not any(isinstance(each, (dict, list)) for each in values)
        return dumper.represent_sequence("tag:yaml.org,2002:seq", values, flow_style=is_plain)

    Dumper.add_representer(list, lists)
    return str(yaml.dump(table, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=10_000))
