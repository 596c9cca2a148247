"""Labels and predictions of frames for a parity plot, with the errors of all of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, cast

from psiflow_cli import extxyz
from psiflow_cli.stages.evaluate.error_table import ErrorTable

if TYPE_CHECKING:
    from psiflow_cli.messages import ComparedFrame, Comparison, Labels, Prediction

MOST_FRAMES = 20_000  # a parity plot of more frames says no more; about so many, evenly spaced, are drawn


class Compared:
    """Frames that are added one after another; `total` says about how many there will be."""

    def __init__(self, total: int, most: int = MOST_FRAMES) -> None:
        self.errors = ErrorTable()
        self._step = max(1, total // most)
        self._seen = 0
        self._frames: list[ComparedFrame] = []

    def add(self, frame: extxyz.Frame, label: Labels, prediction: Prediction) -> None:
        """Compare one frame."""
        kind = config_type(frame)
        self.errors.add(label, prediction, frame.symbols, kind)
        if self._seen % self._step == 0:
            drawn: ComparedFrame = {
                "symbols": frame.symbols, "config_type": kind, "label": label, "prediction": prediction,
            }  # fmt: skip
            self._frames.append(drawn)
        self._seen += 1

    def write(self, path: Path) -> bool:
        """A file as `figures.PARITY` reads it; returns whether there is anything to draw."""
        data: Comparison = {"frames": self._frames, "errors": self.errors.rows()}
        path.write_text(json.dumps(data))
        return bool(data["errors"])


def config_type(frame: extxyz.Frame) -> str:
    """What kind of frame it says it is, or ""."""
    return str(frame.info.get("config_type", ""))


def labels_and_predictions(frame: extxyz.Frame, keys: dict[str, str] | None) -> tuple[Labels, Prediction] | None:
    """Labels, and what `evaluate` has written into the frame, as far as there is the other; None for nothing."""
    names = [name for name in extxyz.LABELS if f"model_{name}" in frame.info or frame.layout.find(f"model_{name}")]
    label = cast("dict[str, object]", extxyz.labels(frame, keys)) if names else {}
    names = [name for name in names if label[name] is not None]
    if not names:
        return None
    predicted: dict[str, object] = {name: extxyz.label(frame, name, {name: f"model_{name}"}) for name in names}
    if "model_energy_std" in frame.info and frame.layout.find("model_forces_std"):
        predicted |= {"energy_std": frame.info["model_energy_std"], "forces_std": frame.column("model_forces_std")}
    if "model_energy_expected_error" in frame.info:
        predicted["energy_expected_error"] = frame.info["model_energy_expected_error"]
    if frame.layout.find("model_forces_expected_error"):
        predicted["forces_expected_error"] = frame.column("model_forces_expected_error")
    known = {name: label[name] if name in names else None for name in extxyz.LABELS}
    return cast("Labels", known), cast("Prediction", predicted)
