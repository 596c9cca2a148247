"""The configuration of a dry run, kept as a file for --config, is the same configuration."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from psiflow_cli import registry
from psiflow_cli.stages.train import config as trainers_file
from psiflow_cli.stages.train import config_text
from psiflow_cli.stages.train.request import Training

SUMMARY: dict[str, Any] = {
    "elements": ["H", "O"], "frames": 40, "valid_frames": 6, "stress": True, "some_stress": True, "valid_stress": True,
    "periodic": True, "weighted": False, "e0s": {"H": -13.6, "O": -432.1}, "size": "medium",
}  # fmt: skip


@pytest.mark.parametrize("family", ["mace", "nequip", "allegro"])
def test_there_and_back(tmp_path: Path, family: str) -> None:
    module = registry.load("models", family)
    chosen = {"lr": "0.003", "r_max": "4.5"}
    first = module.plan({}, chosen, cast(Any, SUMMARY))
    foreign = {**SUMMARY, "e0s": "init", "init": {}}
    for summary, single in ((SUMMARY, chosen), (SUMMARY, {}), ({**SUMMARY, "init": first}, {}), (foreign, {})):
        config = module.plan({}, single, cast(Any, summary))
        training = SimpleNamespace(module=module, settings=single, config=trainers_file.TrainersFile())
        text = config_text.as_yaml(cast(Training, training), config, cast(Any, summary))
        file = tmp_path / "kept.yaml"
        file.write_text(text)
        kept = trainers_file.read(str(file))
        assert module.plan(kept.table, {}, cast(Any, {**summary, "as_given": True})) == config
        lines = [line.split() for line in text.splitlines()]
        marked = [words[0] for words in lines if words[-2:] == ["#", "--set"]]
        assert marked == (["lr:", "r_max:"] if single else [])
        assert ["#", "psiflow", "fills", "in:"] in lines
