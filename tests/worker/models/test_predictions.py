"""Frames together, and the guilty ones alone; which frames no model can describe."""

from __future__ import annotations

from typing import Any

import pytest

from psiflow_cli.worker.failures import Fatal, failure
from psiflow_cli.worker.models import batches, predictions

pytest.importorskip("ase", reason="ASE is not installed")


def frame(symbol: str, x: float = 1.0) -> Any:
    return {"symbols": [symbol, "H"], "positions": [[0.0] * 3, [x, 0.0, 0.0]], "cell": None, "pbc": [False] * 3}


def test_only_the_guilty_frame_suffers() -> None:
    sizes: list[int] = []

    def predict(frames: list[Any]) -> list[Any]:
        sizes.append(len(frames))
        if any(each["symbols"][0] == "Fe" for each in frames):
            raise ValueError("no iron")
        return [{"energy": each["positions"][1][0]} for each in frames]

    frames = [frame("O", 1.0 + i / 10) for i in range(7)]
    frames[4] = frame("Fe")
    found = predictions.apart(frames, predict, predictions.crashed)
    assert found[4] == failure("crashed", "ValueError: no iron")
    assert [each.get("energy") for each in found] == [1.0, 1.1, 1.2, 1.3, None, 1.5, 1.6]
    assert sizes == [7, 3, 4, 2, 1, 1, 2]


def test_what_is_not_of_a_frame_is_raised() -> None:
    def fatal(frames: list[Any]) -> list[Any]:
        raise Fatal("no such model")

    def broken(frames: list[Any]) -> list[Any]:
        raise RuntimeError("a bug")

    with pytest.raises(Fatal):
        predictions.apart([frame("O")] * 2, fatal, predictions.crashed)
    with pytest.raises(RuntimeError, match="a bug"):
        predictions.apart([frame("O")] * 2, broken, batches.too_large)


def test_a_batch_that_is_too_large_says_how_large() -> None:
    def full(frames: list[Any]) -> list[Any]:
        raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")

    too_large = failure("out-of-memory", "a frame of 2 atoms does not fit into memory")
    assert predictions.apart([frame("O")] * 3, full, batches.too_large) == [too_large] * 3
    alone: Any = predictions.apart([frame("O")], full, predictions.crashed)[0]
    assert alone["message"].startswith("RuntimeError: CUDA out of memory")


@pytest.mark.parametrize(
    ("bad", "elements", "message"),
    [
        (frame("O"), None, ""),
        (frame("O"), ["H", "O"], ""),
        (frame("O"), frozenset("H"), "the model does not know O"),
        (frame("O", float("nan")), ["H", "O"], "position of atom 2 (H) is not finite"),
        (frame("O", float("nan")), ["H"], "position of atom 2 (H) is not finite"),  # the frame's own fault comes first
        (frame("Xx"), ["H", "O"], "unknown element 'Xx'"),
    ],
)
def test_frames_that_cannot_be_described(bad: Any, elements: Any, message: str) -> None:
    expected = failure("invalid-input", message) if message else None
    assert predictions.unfit(bad, elements) == expected
