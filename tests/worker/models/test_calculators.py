"""A worker's models: each thread has its own, since a calculator holds what it was asked about last."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from psiflow_cli.worker.models.calculators import calculator

pytest.importorskip("ase")


def test_threads_do_not_share_a_calculator(tmp_path: Path) -> None:
    (tmp_path / "sites.json").write_text("[[0.0, 0.0, 0.0]]")
    family = str(Path(__file__).parents[2] / "contracts" / "harmonic.py")
    found: dict[str, Any] = {}

    def load(name: str) -> None:
        found[name] = calculator({"family": family, "members": [str(tmp_path)]}, {"device": "cpu"})
        found[f"{name} again"] = calculator({"family": family, "members": [str(tmp_path)]}, {"device": "cpu"})

    load("main")
    other = threading.Thread(target=load, args=("other",))
    other.start()
    other.join()
    assert found["main"] is found["main again"]
    assert found["other"] is found["other again"]
    assert found["main"] is not found["other"]
