"""A model family whose weights are a shift of the energy: EMT in the clothes of a model, for the contract tests."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from psiflow_cli import toml
from psiflow_cli.references import emt

Wire = dict[str, Any]


def predict(frames: list[Wire], members: list[str], context: Wire) -> list[list[Wire]]:
    return [[_shifted(label, member) for label in emt.label(frames, {}, context)] for member in members]


def _shifted(label: Wire, member: str) -> Wire:
    if "failure" in label:
        return label
    shift = json.loads(Path(member, "shift.json").read_text())
    return {**{k: v for k, v in label.items() if k != "code"}, "energy": label["energy"] + shift}


def bundle(folder: Path, shifts: tuple[float, ...] = (1.0,)) -> Path:
    """A bundle of this family, with a member for each shift (eV)."""
    weights = {}
    for index, shift in enumerate(shifts):
        file = folder / f"member-{index}" / "shift.json"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(shift))
        weights[f"member-{index}/shift.json"] = hashlib.sha256(file.read_bytes()).hexdigest()
    facts = {"family": __file__, "elements": ["Cu", "Au"], "members": len(shifts), "weights": weights}
    (folder / "model.toml").write_text(toml.dumps(facts))
    return folder
