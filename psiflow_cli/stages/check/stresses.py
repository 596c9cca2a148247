"""The stress in the labels beside what a model's energies say: its sign and its unit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from psiflow_cli.bundle import Bundle
from psiflow_cli.stages.check.findings import ERROR, WARNING, Findings
from psiflow_cli.stages.check.sample import Sample
from psiflow_cli.stages.core.framewise import Work
from psiflow_cli.stages.core.model_input import model_weights
from psiflow_cli.stages.core.results import is_failure

if TYPE_CHECKING:
    from psiflow_cli.messages import Failure, Stress, Voigt

FRAMES = 12  # so many are compared
_STRAIN = 0.002
_LEAST = 0.5  # a correlation that is nearer to zero says nothing
_UNITS = {"GPa": 160.21766, "kbar": 1602.1766, "bar": 1602176.6, "Ha/bohr³": 1 / 183.6315}
"""One eV/Å³ in units that files have instead."""


def work(model: Bundle, family: str, dtype: str) -> Work:
    """The stress by finite differences of a model's energy; `dtype` is the site's, or `native`."""
    return Work(
        function="psiflow_cli.worker.structures.numerical_stress:stresses",
        payload={"model": model_weights(model, family), "strain": _STRAIN},
        fingerprint=f"strain-{_STRAIN}-{model.fingerprint}-{dtype}", task_seconds=5.0, verb="straining",
    )  # fmt: skip


class Labelled:
    """The stress of every periodic frame that has one, until so many are held; then of every second one, and so on."""

    def __init__(self, elements: tuple[str, ...]) -> None:
        self._elements = set(elements)
        self._held: list[tuple[int, list[float]]] = []
        self._step, self._seen, self._index = 1, 0, -1

    def see(self, sample: Sample) -> None:
        self._index += 1
        can_predict = not self._elements or self._elements.issuperset(sample.frame.symbols)
        if sample.stress is None or not can_predict:
            return
        if self._seen % self._step == 0:
            self._held.append((self._index, sample.stress))
            if len(self._held) > 2 * FRAMES:
                self._held, self._step = self._held[::2], 2 * self._step
        self._seen += 1

    def chosen(self, ids: Sequence[int]) -> dict[int, list[float]]:
        """At most `FRAMES` of them, evenly spaced, by the ids of their structures."""
        step = max(1, -(-len(self._held) // FRAMES))
        return {ids[index]: stress for index, stress in self._held[::step]}


def report(pairs: list[tuple[Voigt, Stress | Failure]], findings: Findings) -> None:
    """Say whether the labels' stress follows the predictions."""
    both = [(label, result["stress"]) for label, result in pairs if not is_failure(result)]
    if len(both) < 2:
        reasons = (result["message"] for _, result in pairs if is_failure(result))
        why = next(reasons, "too few periodic frames have one")
        what = f"the stress could not be compared with the model's: {why}"
        findings.add(WARNING, "stress", what)
        return
    count = len(both)
    label, model = ([x for stress in side for x in stress] for side in zip(*both, strict=True))
    across = sum(x * y for x, y in zip(label, model, strict=True))
    of_labels, of_model = math.sqrt(sum(x * x for x in label)), math.sqrt(sum(x * x for x in model))
    correlation = across / (of_labels * of_model) if of_labels and of_model else 0.0
    evidence = f"in {count} frames its correlation with the model's is {correlation:.2f}"
    if correlation < -_LEAST:
        what = f"the stress has the wrong sign: {evidence}"
        hint = "a positive stress is tension (as in ASE); multiply it by -1"
        findings.add(ERROR, "stress", what, hint).count = count
    elif correlation < _LEAST:
        what = f"the stress does not follow the model's: {evidence}"
        findings.add(WARNING, "stress", what, "is the model good, and the stress converged?").count = count
    ratio = of_labels / of_model if of_model else 1.0
    unit = min(_UNITS, key=lambda name: abs(math.log(ratio / _UNITS[name]))) if ratio > 0 else ""
    if abs(correlation) > _LEAST and unit and 0.5 < ratio / _UNITS[unit] < 2:
        what = f"the stress looks like {unit}: it is {ratio:.3g} times the model's"
        findings.add(ERROR, "stress", what, f"1 eV/Å³ is {_UNITS[unit]:.6g} {unit}", "unit").count = count
