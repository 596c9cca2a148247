"""Compiled models beside the weights: taken only if they are what the record says, of these weights."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from psiflow_cli import bundle, toml
from psiflow_cli.runtime.request import sha256
from psiflow_cli.stages.models.verify import verify
from psiflow_cli.worker.models.kernels import compiled_cache

ENDING = ".nequip.pt2"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A bundle with a compiled model and its record."""
    member = tmp_path / "a.model" / "member-0"
    member.mkdir(parents=True)
    (member / "model.nequip.zip").write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    facts = {"family": "nequip", "elements": ["H"], "members": 1, "weights": {"member-0/model.nequip.zip": digest}}
    (tmp_path / "a.model" / "model.toml").write_text(toml.dumps(facts))
    return tmp_path / "a.model"


def add(model: Path, weights: bytes = b"weights") -> Path:
    path = compiled_cache.place(model / "member-0", "cpu", "ase", ENDING)
    path.parent.mkdir()
    path.write_bytes(b"compiled")
    known = {"sha256": compiled_cache.sha256(path), "weights": hashlib.sha256(weights).hexdigest(), "machine": {}}
    compiled_cache.record(path, ENDING).write_text(json.dumps(known))
    return path


def is_valid(path: Path) -> bool:
    return compiled_cache.valid(path, ENDING, hashlib.sha256(b"weights").hexdigest()) is not None


def test_a_compiled_model_is_taken_with_its_record_only(model: Path) -> None:
    path = add(model)
    assert path.name == "cpu-ase.nequip.pt2"
    assert is_valid(path)
    assert verify(bundle.read(str(model)))["wrong"] == []
    path.write_bytes(b"compiled by another")
    assert not is_valid(path)
    (wrong,) = verify(bundle.read(str(model)))["wrong"]
    assert str(path) in wrong["message"]
    path.write_bytes(b"compiled")
    compiled_cache.record(path, ENDING).unlink()
    assert not is_valid(path)
    compiled_cache.record(path, ENDING).write_text("{")
    assert not is_valid(path)


def test_one_of_other_weights_is_not_taken(model: Path) -> None:
    assert not is_valid(add(model, b"older weights"))


def test_the_bundle_stays_what_it_was(model: Path) -> None:
    """A training whose output was compiled since is still up to date, and its weights are checked as before."""
    before = sha256(model), bundle.load(str(model)).fingerprint
    add(model)
    assert (sha256(model), bundle.load(str(model)).fingerprint) == before
    (model / "member-0" / "more").write_bytes(b"")
    assert sha256(model) != before[0]


def test_a_machine_is_known_again() -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    assert compiled_cache.machine("cpu") == compiled_cache.machine("cpu")
    assert len(compiled_cache.machine("cpu")["device"]) == 16
