"""The calibration of a committee: from frames that it was not trained on to a file in its bundle."""

from __future__ import annotations

import json
import math
from array import array
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from psiflow_cli import __version__, bundle, extxyz
from psiflow_cli.bundle import Bundle
from psiflow_cli.console import note
from psiflow_cli.errors import BadData, Stopped, UsageError
from psiflow_cli.extxyz.frame import is_isolated_atom
from psiflow_cli.runtime import lock, request
from psiflow_cli.stages.core.structures import Structures
from psiflow_cli.stages.core.workspace import Workspace
from psiflow_cli.stages.evaluate import error_scale
from psiflow_cli.worker.models.expected_error import expected

if TYPE_CHECKING:
    from psiflow_cli.messages import CalibratedQuantity, Calibration, ErrorScale, ErrorScales, Labels, Prediction

LEAST_FRAMES = 10
_FEW_FRAMES = 50
_ZERO = 1e-5  # eV/Å: where spread and error are smaller, the force vanishes by symmetry


@dataclass
class Pairs:
    """A spread and an error for each of many values."""

    spreads: array[float] = field(default_factory=lambda: array("d"))
    errors: array[float] = field(default_factory=lambda: array("d"))
    places: array[int] = field(default_factory=lambda: array("L"))
    """The number of the frame of each."""

    def add(self, spread: float, error: float, place: int) -> None:
        self.spreads.append(spread)
        self.errors.append(error)
        self.places.append(place)

    def described(self, scale: ErrorScale) -> CalibratedQuantity:
        return error_scale.described(self.spreads, self.errors, scale)


@dataclass
class Compared:
    """The spreads and errors of labelled frames: of the force on each atom (eV/Å), of the energy per atom (eV)."""

    forces: Pairs = field(default_factory=Pairs)
    energy: Pairs = field(default_factory=Pairs)

    def add(self, place: int, frame: extxyz.Frame, label: Labels, prediction: Prediction) -> None:
        """Compare the frame with this number; no isolated atom, on which no force acts, and no force that vanishes."""
        if is_isolated_atom(frame):
            return
        number = frame.natoms
        if label["energy"] is not None:
            error = abs(prediction["energy"] - label["energy"])
            self.energy.add(prediction["energy_std"] / number, error / number, place)
        if label["forces"] is not None:
            for spread, a, b in zip(prediction["forces_std"], label["forces"], prediction["forces"], strict=True):
                error = math.dist(a, b)
                if max(spread, error) > _ZERO:
                    self.forces.add(spread, error, place)

    def described(self, scales: ErrorScales) -> dict[str, CalibratedQuantity]:
        """What the scales make of these pairs, for each quantity that has any."""
        quantities = {"forces": self.forces.described(scales["forces"])} if self.forces.errors else {}
        if "energy" in scales and self.energy.errors:
            quantities["energy"] = self.energy.described(scales["energy"])
        return quantities


def check_model(model: Bundle) -> None:
    """Raise BadData for a model whose spread cannot be calibrated, Stopped where a training is writing it."""
    if model.is_foreign or len(model.members) < 2:
        kind = "a bare model file" if model.is_foreign else "a model of one member"
        raise UsageError(f"--calibrate: {model.path} is {kind}, without a spread", "psiflow train --members 4")
    if model.unfinished:
        raise BadData(f"{model.path}: its training has not finished", "run the training again to continue it")
    if lock.is_held(Path(f"{model.path}.run", "lock")):
        raise Stopped(
            f"{model.path}: a training will replace it soon", "wait until it has finished, then run this again"
        )


def check_frames(model: Bundle, workspace: Workspace, with_forces: int) -> None:
    """Raise BadData for too few frames, or for one that the model was trained on, as far as the bundle tells."""
    names = ", ".join(workspace.job.frames)
    if with_forces < LEAST_FRAMES:
        raise BadData(
            f"{names}: too few frames with forces for a calibration: {with_forces}",
            f"give at least {LEAST_FRAMES}, better 100, on which the model was not trained",
        )
    if with_forces < _FEW_FRAMES:
        share = round(100 / math.sqrt(2 * with_forces))
        note(f"few frames for a calibration ({with_forces}): expected errors may be off by {share} %")
    try:
        data = bundle.training_data(model)
    except BadData as error:
        raise BadData(error.message, "copy the entire bundle again, or train it again") from None
    if not data:
        note(f"{model.path} contains no training data, so it is not known whether it was trained on these frames")
        return
    structures = Structures(workspace.frames())
    number = len(structures)
    parts: list[str] = [""] * number
    for part, path in data.items():
        for frame in extxyz.read(path):
            if not is_isolated_atom(frame):
                structures.add(frame)
                parts.append(part)
    learned: dict[str, set[int]] = {"train": set(), "valid": set()}
    for first, part in zip(structures.firsts(), parts, strict=True):
        if part and first < number:
            learned[part].add(first)
    if trained := learned["train"]:
        where = next(islice(workspace.frames(), min(trained), None)).where
        more = f", as on {len(trained) - 1} others" if len(trained) > 1 else ""
        problem = f"{where}: the model was trained on this structure{more}: its error says nothing about new ones"
        raise BadData(problem, "make parts that share no structure with psiflow split")
    if learned["valid"]:
        count = f"{len(learned['valid'])} of {number} frames"
        note(f"{count} are validation data of the training: errors for new structures may be larger")


def calibrate(model: Bundle, workspace: Workspace, compared: Compared) -> Calibration:
    """The calibration that fits these frames. Raises BadData where the spread says nothing about the errors."""
    names = ", ".join(workspace.job.frames)
    frames = len(set(compared.forces.places))
    if frames < LEAST_FRAMES:
        problem = f"{names}: too few frames with a prediction and nonzero forces for a calibration: {frames}"
        raise BadData(problem, f"give at least {LEAST_FRAMES}, better 100")
    forces = _fitted(compared.forces)
    if not forces:
        raise BadData(
            f"{names}: the spread of the members of {model.path} does not correlate with their errors here",
            "give more, and more diverse, frames; or train members that differ more: train --bootstrap",
        )
    _note_outliers(compared.forces, forces, workspace)
    calibration: Calibration = {
        "weights": model.fingerprint, "method": error_scale.METHOD, "psiflow": __version__,
        "data": {name: request.sha256(path if name == "-" else Path(name)) for name, path in workspace.sources},
        "frames": frames, "forces": forces, "sha256": "",
    }  # fmt: skip
    if energy := _fitted(compared.energy):
        calibration["energy"] = energy
    else:
        note("energies are not calibrated: there are too few, or their errors do not grow with the spread")
    calibration["sha256"] = bundle.checksum(calibration)
    return calibration


def _fitted(pairs: Pairs) -> CalibratedQuantity | None:
    """None where there are too few pairs, or errors do not grow with the spread."""
    if len(pairs.errors) < LEAST_FRAMES or not any(pairs.spreads) or not any(pairs.errors):
        return None
    scale = error_scale.fit(pairs.spreads, pairs.errors)
    quality = pairs.described(scale)
    return quality if scale["scale"] > 0 and quality["rank_correlation"] > 0 else None


def _note_outliers(pairs: Pairs, scale: CalibratedQuantity, workspace: Workspace) -> None:
    """Say where an error is much larger than expected."""
    if not scale["outliers"]:
        return
    share = [error / expected(spread, scale) for spread, error in zip(pairs.spreads, pairs.errors, strict=True)]
    worst = max(range(len(share)), key=share.__getitem__)
    where = next(islice(workspace.frames(), pairs.places[worst], None)).where
    note(
        f"{scale['outliers']} of {len(share)} forces have errors of more than {error_scale.OUTLIER:g} times the "
        f"expected error and get a smaller weight; the worst is in {where}"
    )


def publish(workspace: Workspace, model: Bundle, calibration: Calibration) -> None:
    """Put the calibration into the bundle. Raises Stopped where that was replaced meanwhile."""
    if bundle.load(str(model.path)).fingerprint != model.fingerprint:
        raise Stopped(f"{model.path}: another model was written there in the meantime", "run this again")
    path = str(model.path / bundle.CALIBRATION)
    try:
        workspace.run.publish_text(json.dumps(calibration, indent=1, ensure_ascii=False) + "\n", path)
    finally:
        workspace.run.temporary(path).unlink(missing_ok=True)
