"""What the terms of a sum give, added: predictions of many frames, an ASE calculator, a model of torch-sim."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from psiflow_cli.potentials.sum import terms
from psiflow_cli.worker.failures import Fatal, failure
from psiflow_cli.worker.models.interfaces import computed, to_torchsim
from psiflow_cli.worker.structures import labels

if TYPE_CHECKING:
    import numpy as np
    import torch
    from ase import Atoms
    from ase.calculators.calculator import Calculator
    from torch_sim import SimState
    from torch_sim.models.interface import ModelInterface

    from psiflow_cli.messages import Context, Failure, Frame, Prediction, PredictionResult


def predict(frames: list[Frame], members: list[str], context: Context) -> list[list[PredictionResult]]:
    """*worker*: for each member, a prediction or a failure for each frame; a term's failure is the sum's."""
    by_term: dict[str, list[PredictionResult]] = {}
    results = []
    for member in members:
        of_member = terms.read(member, context)
        for term in of_member:
            if term.key not in by_term:
                by_term[term.key] = term.predict(frames)
        by_frame = zip(*(by_term[term.key] for term in of_member), strict=True)
        results.append([_added(frame, of_member, each) for frame, each in zip(frames, by_frame, strict=True)])
    return results


def _added(frame: Frame, of_member: list[terms.Term], results: Sequence[PredictionResult]) -> PredictionResult:
    import numpy as np

    for term, result in zip(of_member, results, strict=True):
        if "failure" in result:
            failed = cast("Failure", result)
            return failure(failed["failure"], f"{term.what}: {failed['message']}", failed["log"])
    predictions = cast("Sequence[Prediction]", results)
    factors = [term.factor for term in of_member]
    energy = float(np.dot(factors, [each["energy"] for each in predictions]))
    forces = np.tensordot(factors, [each["forces"] for each in predictions], 1).tolist()
    stresses = [each["stress"] for each in predictions if each["stress"] is not None]
    stress = np.dot(factors, stresses).tolist() if len(stresses) == len(factors) else None
    label = labels.label(frame, energy, forces, stress, "")
    return label if "failure" in label else {"energy": energy, "forces": forces, "stress": label["stress"]}


def features(frames: list[Frame], member: str, context: Context) -> Sequence[np.ndarray | Failure]:
    """*worker*: those of the first term that has any; its factor does not matter. Raises Fatal where none has."""
    for term in terms.read(member, context):
        if (describe := term.features()) is not None:
            return describe(frames)
    raise Fatal("no term of the sum provides features", "--descriptor soap")


def calculator(member: str, context: Context) -> Calculator:
    """*worker*: an ASE calculator that adds those of the terms."""
    import numpy as np

    of_member = terms.read(member, context)
    factors = [term.factor for term in of_member]
    parts = [term.calculator() for term in of_member]

    def compute(atoms: Atoms, properties: Sequence[str]) -> computed.Results:
        values = computed.together(parts, atoms, properties)
        added: computed.Results = {name: np.tensordot(factors, each, 1) for name, each in values.items()}
        return {**added, "energy": float(added["energy"])}

    return computed.calculator(compute, parts=parts)


def torchsim(member: str, context: Context, stress: bool) -> ModelInterface:
    """*worker*: a model of torch-sim that adds those of the terms.

    A term that torch-sim has no model for is computed by ASE, one system after another. Raises Fatal where all are so.
    """
    import torch
    from torch_sim.models.interface import ModelInterface

    of_member = terms.read(member, context)
    batched = {term.key: model for term in of_member if (model := term.torchsim(stress)) is not None}
    if not batched:
        raise Fatal(
            "no term of the sum can be computed with torch-sim", "use --engine ase, which can compute all terms"
        )
    device = next(iter(batched.values())).device
    dtype = torch.float64 if any(each.dtype == torch.float64 for each in batched.values()) else torch.float32

    def part_of(term: terms.Term) -> ModelInterface:
        if term.key in batched:
            return batched[term.key]
        return to_torchsim.of_calculator(term.calculator(), device, dtype, stress)

    class Sum(ModelInterface):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self._device, self._dtype, self._compute_stress, self._compute_forces = device, dtype, stress, True
            self.parts = [part_of(term) for term in of_member]

        def setup_from_system_idx(self, atomic_numbers: torch.Tensor, system_idx: torch.Tensor) -> None:
            """Tell the terms which atoms are whose."""
            for part in self.parts:
                if hasattr(part, "setup_from_system_idx"):
                    part.setup_from_system_idx(atomic_numbers, system_idx)

        def forward(self, state: SimState, **_: Any) -> dict[str, torch.Tensor]:
            added: dict[str, torch.Tensor] = {}
            for term, part in zip(of_member, self.parts, strict=True):
                values = part(state if part.dtype == dtype else state.to(dtype=part.dtype))
                for name in ("energy", "forces", *(["stress"] if stress else [])):
                    weighted = term.factor * values[name].to(torch.float64)
                    added[name] = added[name] + weighted if name in added else weighted
            return added

    return Sum()
