"""Which way of computing a model is taken: the fastest that agrees with the model as it is, remembered beside it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from psiflow_cli.worker.failures import Fatal
from psiflow_cli.worker.models.kernels import fast_paths
from psiflow_cli.worker.models.kernels.compiled_cache import NotBuilt
from psiflow_cli.worker.models.kernels.fast_paths import Fastest, FastPath, differs

torch = pytest.importorskip("torch")
CPU = ("cuda", "cpu")
CUDA = (torch.version.cuda or "12").partition(".")[0]
PATHS = (
    FastPath("quick", devices=CPU), FastPath("wrong", devices=CPU), FastPath("broken", devices=CPU),
    FastPath("absent", ("no_such_kernels",), "no-such-kernels-cu{cuda}", CPU), FastPath("of GPUs"),
    FastPath("rough", devices=CPU, if_asked=True), FastPath("compiled", devices=CPU),
)  # fmt: skip


class Model:
    """A model that takes some time, and is off by a force."""

    cutoff = 4.0

    def __init__(self, seconds: float, error: float = 0.0) -> None:
        self.seconds, self.error = seconds, error

    def __call__(self, positions: Any) -> dict[str, Any]:
        time.sleep(self.seconds)
        return {"energy": positions.sum()[None], "forces": -positions + self.error}


class Family:
    """What makes the model by each path, and counts."""

    def __init__(self) -> None:
        self.made: list[tuple[str, bool]] = []

    def __call__(self, path: str, build: bool) -> Model:
        self.made.append((path, build))
        if path == "broken":
            raise RuntimeError("no kernel image")
        if path == "compiled" and not build:
            raise NotBuilt
        return Model(0.02 if path in ("", "eager") else 0.001, error=0.1 if path == "wrong" else 1e-9)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "member-0" / "tiny.model"
    path.parent.mkdir()
    path.write_bytes(b"weights")
    return path


def fastest(weights: Path | None, **context: Any) -> tuple[Family, Fastest]:
    family = Family()
    return family, Fastest(family, PATHS, weights, {"device": "cpu", **context}, "test")  # type: ignore[typeddict-item]


def called(model: Fastest) -> dict[str, Any]:
    return model(torch.ones((4, 3), dtype=torch.float64))


def test_the_fastest_that_agrees_is_taken_and_remembered(weights: Path) -> None:
    family, model = fastest(weights, kernels="measure")
    outputs = called(model)
    assert outputs["forces"][0, 0] == pytest.approx(-1.0)
    choice = model.choice
    assert choice is not None
    assert choice["path"] == "quick"
    assert choice["ms"]["quick"] < choice["ms"]["eager"]
    assert set(choice["refused"]) == {"wrong", "broken"}
    assert "forces: 1.0e-01 apart" in choice["refused"]["wrong"]
    assert choice["install"] == [f"no-such-kernels-cu{CUDA}"]
    assert ("compiled", False) in family.made, "it does not pay for a few calls"
    assert model.cutoff == 4.0, "what a model says of itself"
    (kept,) = weights.parent.glob("compiled/*.json")
    assert json.loads(kept.read_text())["path"] == "quick"


def test_what_takes_minutes_is_built_for_a_long_run(weights: Path) -> None:
    family, model = fastest(weights, kernels="measure", calls=1_000_000)
    called(model)
    assert ("compiled", True) in family.made
    again, model = fastest(weights, kernels="measure", calls=1_000_000)
    called(model)
    assert len(again.made) == 2, "the model as it is, and the choice"
    assert model.choice is not None


def test_a_remembered_path_that_is_wrong_by_now_is_not_taken(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, model = fastest(weights, kernels="measure", calls=1_000_000)
    called(model)
    monkeypatch.setattr(fast_paths, "differs", lambda *_: "it differs")
    _, model = fastest(weights, kernels="measure", calls=1_000_000)
    called(model)
    assert model.choice is not None
    assert model.choice["path"] == "eager"
    assert model.model.seconds == 0.02


@pytest.mark.parametrize(("asked", "path"), [("", ""), ("eager", "eager"), ("quick", "quick"), ("rough", "rough")])
def test_a_cpu_measures_nothing_by_itself_and_a_name_decides(weights: Path, asked: str, path: str) -> None:
    family, model = fastest(weights, kernels=asked)
    called(model)
    assert [name for name, _ in family.made] == [path]
    assert model.choice is None


def test_names_that_cannot_be_had_are_refused(weights: Path) -> None:
    with pytest.raises(Fatal, match="has no such kernels") as error:
        fastest(weights, kernels="quik")
    assert "eager, measure, quick" in error.value.hint
    with pytest.raises(Fatal, match="needs no_such_kernels") as error:
        fastest(weights, kernels="absent")
    assert error.value.hint == f"pip install no-such-kernels-cu{CUDA}"


def test_a_broken_gpu_is_no_reason_to_go_on(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, model = fastest(weights, kernels="measure")
    error = RuntimeError("CUDA error: an illegal memory access was encountered")
    monkeypatch.setattr(Family, "__call__", lambda *_: (_ for _ in ()).throw(error))
    with pytest.raises(RuntimeError, match="illegal memory access"):
        called(model)


def test_numbers_that_are_none_differ() -> None:
    reference = {"energy": torch.zeros(1), "forces": torch.zeros((2, 3))}
    assert not differs(reference, reference)
    assert differs({**reference, "forces": torch.full((2, 3), torch.nan)}, reference)
    assert differs({**reference, "energy": torch.full((1,), 1.0)}, reference).startswith("energy")
