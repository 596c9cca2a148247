"""What decides a training is hashed as ever: a new psiflow must not train again what is up to date."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from psiflow_cli import bundle, registry
from psiflow_cli.runtime.request import fingerprint
from psiflow_cli.stages.train.request import Training


def training(**more: Any) -> Training:
    return Training(**{"arch": "mace", "module": registry.load("models", "mace"), "valid": "0.1", "e0s": None, **more})


@pytest.mark.parametrize(
    ("more", "digest"),
    [
        ({}, "88cd2b94dc8b28b9"),
        ({"e0s": "average", "valid": "0.25", "mixed_references": True, "replay": False}, "62ff0459ce8e5d5a"),
        (
            {
                "valid": "v.xyz", "seed": 3, "members": 4, "bootstrap": True, "settings": {"r_max": "3", "lr": "0.1"},
                "e0s": {"H": -13.6, "O": -432.1}, "config": {"r_max": 4.5, "lr": "1e-3"}, "config_file": "c.yaml",
                "keys": "energy=E,forces=F",
            },
            "92a30eee6c0a2b8f",
        ),
    ],
)  # fmt: skip
def test_the_fingerprint_of_a_request(more: dict[str, Any], digest: str) -> None:
    job = training(**more).job(("in.xyz",), "a.model")
    assert fingerprint(job.settings) == digest
    assert job.other_inputs == (("v.xyz",) if "config" in more else ())
    assert json.loads(json.dumps(job.settings)) == job.settings


def test_a_model_to_start_from_counts_unless_it_is_the_output(tmp_path: Path) -> None:
    facts: Any = {"family": "mace", "elements": ["H"], "members": 1, "weights": {"member-0/a.model": "0" * 64}}
    model = bundle.Bundle(tmp_path / "a.model", facts)
    settings = training(init=model).job((), str(tmp_path / "b.model")).settings
    assert (settings["init"], settings["replay"]) == (model.fingerprint, True)
    settings = training(init=model, replay=False).job((), str(tmp_path / "a.model")).settings
    assert (settings["init"], settings["replay"]) == ("the output", False)


def test_committees_share_no_member() -> None:
    seeds = [[training(seed=seed).member_seed(index) for index in range(8)] for seed in range(8)]
    assert [members[0] for members in seeds] == list(range(8)), "a training of one model is not done again"
    assert len({seed for members in seeds for seed in members}) == 64
    assert all(0 <= seed < 2**31 for members in seeds for seed in members)


def test_members_that_start_from_the_same_weights_differ_in_their_data(tmp_path: Path) -> None:
    facts: Any = {"family": "mace", "elements": ["H"], "members": 2, "weights": {"member-0/a.model": "0" * 64}}
    model = bundle.Bundle(tmp_path / "a.model", facts)
    cases = {None: [False, False, True, True], True: [True] * 4, False: [False] * 4}
    for given, expected in cases.items():
        assert [training(init=model, bootstrap=given).has_sample(index) for index in range(4)] == expected
    assert not training(bootstrap=None).has_sample(3), "other first weights are enough"

    def bootstrap(output: str, **more: Any) -> object:
        return training(init=model, **more).job((), str(tmp_path / output)).settings["bootstrap"]

    assert bootstrap("b.model", members=2) is False
    assert bootstrap("b.model", members=3) == "where members share the start"
    assert bootstrap("a.model", members=3) is False, "the output has as many members after the first run"


def test_a_head_is_another_model(tmp_path: Path) -> None:
    facts: Any = {"family": "mace", "elements": ["H"], "members": 1, "weights": {"member-0/a.model": "0" * 64}}
    model = bundle.Bundle(tmp_path / "a.model", facts)
    heads = [replace(model, head=head).fingerprint for head in (None, "pbe", "ccsdt")]
    assert len(set(heads)) == 3
    assert heads[0] == model.fingerprint
