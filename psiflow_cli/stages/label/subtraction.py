"""Labels less what a reference gives, to learn the difference: what was subtracted stays with the frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from psiflow_cli import extxyz, voigt
from psiflow_cli.errors import BadData

if TYPE_CHECKING:
    from psiflow_cli.messages import Label

SUBTRACTED = "subtracted"
"""The key that names the reference which was subtracted; with _energy, _forces and _stress, what it gave."""


@dataclass(frozen=True)
class Subtraction:
    """From which labels of the frames to subtract."""

    energy: str  # the name of the energy; forces and stress have their usual names

    @property
    def _keys(self) -> dict[str, str]:
        return {} if self.energy == "energy" else {"energy": self.energy}

    def see(self, frame: extxyz.Frame) -> None:
        """Raise BadData for a frame that has nothing to subtract from, or from which something was subtracted."""
        if earlier := frame.info.get(SUBTRACTED):
            problem = f"{frame.where}: {earlier} was already subtracted from its labels"
            raise BadData(problem, "to subtract several, add them first: psiflow model combine 'xtb + dftd:xc=pbe'")
        if extxyz.label(frame, "energy", self._keys) is None:
            hint = "give the key of the energy, as in --subtract-from REF_energy, and labelled frames"
            raise BadData(f"{frame.where}: no {self.energy} to subtract from", hint)

    def difference(self, frame: extxyz.Frame, label: Label, reference: str) -> tuple[Label, str]:
        """The frame's labels less this one, and the name of the method that they are then of."""
        own = extxyz.labels(frame, self._keys)
        assert own["energy"] is not None
        info: dict[str, object] = {SUBTRACTED: reference, f"{SUBTRACTED}_energy": label["energy"]}
        difference: dict[str, object] = {"energy": own["energy"] - label["energy"], "forces": None, "stress": None}
        arrays: dict[str, object] = {}
        if own["forces"] is not None:
            pairs = zip(own["forces"], label["forces"], strict=True)
            difference["forces"] = [[x - y for x, y in zip(a, b, strict=True)] for a, b in pairs]
            arrays[f"{SUBTRACTED}_forces"] = label["forces"]
        if own["stress"] is not None and label["stress"] is not None:
            difference["stress"] = [x - y for x, y in zip(own["stress"], label["stress"], strict=True)]
            info[f"{SUBTRACTED}_stress"] = voigt.to_matrix(label["stress"])
        method = str(frame.info.get("psiflow_reference", "labels"))
        code = " minus ".join(filter(None, (str(frame.info.get("psiflow_code", "")), label["code"])))
        result = {**label, **difference, "code": code, "info": info, "arrays": arrays}
        return cast("Label", result), f"{method}-minus-{reference}"
