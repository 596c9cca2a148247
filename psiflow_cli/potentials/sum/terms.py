"""The terms of a sum: each is asked for predictions, an ASE calculator, or a model of torch-sim."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, TypeVar, cast

from psiflow_cli.worker.failures import Fatal
from psiflow_cli.worker.models import calculators, committee, label
from psiflow_cli.worker.models.interfaces import computed
from psiflow_cli.worker.pool import call
from psiflow_cli.worker.structures import conversion

if TYPE_CHECKING:
    import numpy as np
    from ase import Atoms
    from ase.calculators.calculator import Calculator
    from torch_sim.models.interface import ModelInterface

    from psiflow_cli.messages import Context, Failure, Frame, PredictionResult, Settings, SumTerm

FILE = "sum.json"
_Made = TypeVar("_Made")
Describe: TypeAlias = "Callable[[list[Frame]], Sequence[np.ndarray | Failure]]"
_shared: dict[tuple[str, str, str], object] = {}
"""What the members of the last sum of each thread have in common, by (thread, bundle, what decides it)."""


@dataclass(frozen=True)
class Term:
    """A term of one member, in a task."""

    entry: SumTerm
    bundle: Path
    context: Context  # with its own head

    @property
    def factor(self) -> float:
        return self.entry["factor"]

    @property
    def what(self) -> str:
        """As the user wrote it."""
        return self.entry["what"]

    @property
    def key(self) -> str:
        """All that its numbers depend on besides its factor and the structure."""
        decisive = {name: value for name, value in self.entry.items() if name not in ("factor", "what")}
        how = [str(self.context.get(name)) for name in ("device", "dtype", "threads")]
        return json.dumps([decisive, how], sort_keys=True)

    def predict(self, frames: list[Frame]) -> list[PredictionResult]:
        """A prediction or a failure for each frame."""
        if "member" in self.entry:
            family = calculators.module(self.entry["family"])
            return committee.evaluate(frames, family, [self.weights], self.context)
        labels = label.label(frames, self.reference, self.entry["settings"], self.context)
        return cast("list[PredictionResult]", labels)

    def features(self) -> Describe | None:
        """What describes the atoms of frames by what the term knows of them; None where it gives nothing away."""
        if "member" not in self.entry:
            return None
        try:
            describe = call.resolve(f"{calculators.module(self.entry['family'])}:features")
        except AttributeError:
            return None
        return lambda frames: cast("Sequence[np.ndarray | Failure]", describe(frames, self.weights, self.context))

    def calculator(self) -> Calculator:
        """Its ASE calculator, which the members of the sum that have the same term share."""
        return self._once("ase", self._calculator)

    def torchsim(self, stress: bool) -> ModelInterface | None:
        """Its model of torch-sim, shared likewise; None where it has none."""
        return self._once(f"torchsim {stress}", lambda: self._torchsim(stress))

    def _calculator(self) -> Calculator:
        if "member" in self.entry:
            make = call.resolve(f"{calculators.module(self.entry['family'])}:calculator")
            return cast("Calculator", make(self.weights, self.context))
        return _of_reference(self.what, self.reference, self.entry["settings"], self.context)

    def _torchsim(self, stress: bool) -> ModelInterface | None:
        if "member" not in self.entry:
            return None
        try:
            make = call.resolve(f"{calculators.module(self.entry['family'])}:torchsim")
            return make(self.weights, self.context, stress)
        except (AttributeError, Fatal):
            return None

    @property
    def weights(self) -> str:
        """The folder or the file of a model's weights."""
        return str(self.bundle / self.entry["member"])

    @property
    def reference(self) -> str:
        """The module of a reference, or the file of one of the user's own."""
        name = self.entry["reference"]
        return str(self.bundle / name) if name.endswith(".py") else f"psiflow_cli.references.{name}"

    def _once(self, kind: str, make: Callable[[], _Made]) -> _Made:
        thread, bundle = str(threading.get_ident()), str(self.bundle)
        for other in [each for each in _shared if each[0] == thread and each[1] != bundle]:
            del _shared[other]  # two sums may not fit on one GPU
        key = (thread, bundle, f"{kind} {self.key}")
        if key not in _shared:
            _shared[key] = make()
        return cast("_Made", _shared[key])


def read(member: str, context: Context) -> list[Term]:
    """The terms of a member."""
    entries = cast("list[SumTerm]", json.loads(Path(member, FILE).read_text(encoding="utf-8"))["terms"])
    shared = cast("Context", {name: value for name, value in context.items() if name != "head"})
    return [
        Term(entry, Path(member).parent, {**shared, "head": entry["head"]} if "head" in entry else shared)
        for entry in entries
    ]


def _of_reference(what: str, reference: str, settings: Settings, context: Context) -> Calculator:
    """A reference as an ASE calculator."""
    from ase.calculators.calculator import CalculationFailed

    def compute(atoms: Atoms, _: Sequence[str]) -> computed.Results:
        import numpy as np

        (labelled,) = label.label([conversion.of_ase(atoms)], reference, settings, context)
        if "failure" in labelled:
            raise CalculationFailed(f"{what}: {labelled['failure']}: {labelled['message']}")
        results: computed.Results = {"energy": labelled["energy"], "forces": np.array(labelled["forces"])}
        if labelled["stress"] is not None:
            results["stress"] = np.array(labelled["stress"])
        return results

    return computed.calculator(compute)
