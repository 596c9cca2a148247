"""Learning curves of model bundles, from their metrics.json."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from psiflow_cli import bundle, registry
from psiflow_cli.errors import BadData, NoInput, PsiflowError
from psiflow_cli.protocols import Model, TrainsInStages
from psiflow_cli.stages.evaluate.compare import names

if TYPE_CHECKING:
    from psiflow_cli.messages import Config, Curve, Epoch, MemberMetrics

METRICS = "metrics.json"


def read(files: Sequence[str]) -> list[Curve]:
    """The members of every model in order, named by what distinguishes their files. Raises BadData."""
    return [curve for file, name in zip(files, names(tuple(files)), strict=True) for curve in _read(file, name)]


def of_training(
    model: str, epochs: list[list[Epoch]], metrics: Mapping[str, MemberMetrics], start: int | None
) -> list[Curve]:
    """The curves of the members of a model, with the epoch that each delivers and where a second stage begins."""
    curves: list[Curve] = []
    for index, member in enumerate(epochs):
        curve: Curve = {"model": model, "epochs": member}
        if "epoch" in (delivered := metrics.get(f"member-{index}", cast("MemberMetrics", {}))):
            curve["delivered"] = delivered["epoch"]
        if start is not None and any(epoch["epoch"] >= start for epoch in member):
            curve["stage_two"] = start
        curves.append(curve)
    return curves


def stage_two(module: Model, config: Config) -> int | None:
    """The first epoch of the second stage of a training, if it has one."""
    return module.stage_two(config) if isinstance(module, TrainsInStages) else None


def _read(file: str, name: str) -> list[Curve]:
    try:
        data = json.loads(Path(file).read_text(encoding="utf-8"))
        curves, metrics = data["curves"], data["metrics"]
        for epoch in (epoch for curve in curves for epoch in curve):
            int(epoch["epoch"])
    except OSError as error:
        raise NoInput(f"{file}: {error.strerror}", "check its name and the working directory") from None
    except (ValueError, KeyError, TypeError):
        raise BadData(f"{file}: not the {METRICS} of a model bundle", "give one that psiflow train wrote") from None
    start = None
    with contextlib.suppress(PsiflowError):  # a copy of metrics.json alone, or of a family that is not here
        facts = bundle.read(str(Path(file).parent)).facts
        start = stage_two(registry.load("models", facts["family"]), facts.get("configuration", {}))
    return of_training(name, curves, metrics, start)
