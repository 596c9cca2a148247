"""The stress in the labels beside what energies say, the labels' own or a model's: its sign and its unit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from psiflow_cli.bundle import Bundle
from psiflow_cli.errors import counted
from psiflow_cli.extxyz.layout import volume
from psiflow_cli.stages.check.findings import ERROR, WARNING, Findings, Tally
from psiflow_cli.stages.check.sample import Sample
from psiflow_cli.stages.check.units.pairs import Pair, regression
from psiflow_cli.stages.core.framewise import Work
from psiflow_cli.stages.core.model_input import model_weights
from psiflow_cli.stages.core.results import is_failure

if TYPE_CHECKING:
    from psiflow_cli.messages import Failure, Stress, Voigt

FRAMES = 12  # so many are compared
_STRAIN = 0.002
_LEAST = 0.5  # a correlation that is nearer to zero says nothing
_PAIRS = 30  # so many pairs of frames, the most similar ones, are looked at
_FEWEST, _SURE = 4, 0.7  # pairs of frames, and a correlation of the energies with the work that is no chance
_FACTOR = 6.0  # between a factor that anharmonic motion explains (2 to 3) and 160
_MOST_VOLUME = 20.0  # Å³ per atom: the rest of a cell is vacuum
_LARGE, _HUGE = 8.0, 100.0
"""eV: stress times volume per atom. Iron has 2 in the Earth's core and 25 at 1 TPa."""
_HINT = "stresses must be in eV/Å³ and positive under tension, energies in eV: 1 eV/Å³ is 160.218 GPa or 1602.18 kbar"
_UNITS = {"GPa": 160.21766, "kbar": 1602.1766, "bar": 1602176.6, "Ha/bohr³": 1 / 183.6315}
"""One eV/Å³ in units that files have instead."""


def work(model: Bundle, family: str, dtype: str) -> Work:
    """The stress by finite differences of a model's energy; `dtype` is the site's, or `native`."""
    return Work(
        function="psiflow_cli.worker.structures.numerical_stress:stresses",
        payload={"model": model_weights(model, family), "strain": _STRAIN},
        fingerprint=f"strain-{_STRAIN}-{model.fingerprint}-{dtype}", task_seconds=5.0, verb="straining",
    )  # fmt: skip


class Strained:
    """What the stress of one file looks like beside its own energies and forces, and by its size."""

    def __init__(self) -> None:
        self._points: list[tuple[float, float, float]] = []  # distance, work of the stress, change of the energy
        self._volumes = 0.0
        self._large, self._huge = Tally(), Tally()
        self._frames = 0
        self._most = 0.0

    def see(self, sample: Sample) -> None:
        """Note the size of one frame's stress."""
        if sample.stress is None or sample.isolated or sample.frame.lattice is None:
            return
        self._frames += 1
        largest = max(map(abs, sample.stress))
        an_atom = largest * min(volume(sample.frame.lattice) / sample.natoms, _MOST_VOLUME)
        for tally, least in ((self._large, _LARGE), (self._huge, _HUGE)):
            if an_atom > least:
                tally.see(sample.where)
                self._most = max(self._most, largest)

    def compare(self, pair: Pair | None, sample: Sample) -> None:
        """Note two frames whose cells differ."""
        if pair and not math.isnan(pair.strain_work) and sample.frame.lattice:
            self._points.append((pair.distance, pair.strain_work, pair.energy - pair.work))
            self._volumes += volume(sample.frame.lattice)

    def report(self, findings: Findings, file: str) -> None:
        nearest = sorted(self._points)[:_PAIRS]
        slope, correlation = regression([(work, energy) for _, work, energy in nearest])
        tells = len(nearest) >= _FEWEST and abs(correlation) > _LEAST
        if tells and not (slope > 0 and 1 / _FACTOR < slope < _FACTOR):
            severity = ERROR if len(nearest) >= 10 and abs(correlation) > _SURE else WARNING
            what = f"{self._wrong(slope)}: among {len(nearest)} pairs of similar frames with other cells the energy"
            what = f"{what} changes by {slope:.2g} times the value expected from the stress"
            findings.add(severity, "stress", what, _HINT, f"unit {file}").count = self._frames
        elif self._huge.count > self._frames / 2 and not tells:
            what = f"an impossible stress: up to {self._most * _UNITS['GPa']:.3g} GPa"
            finding = findings.add(ERROR, "stress", what, _HINT, f"unit {file}")
            finding.concerns(self._huge.count, self._huge.places)
        elif self._large.count > self._frames / 2 and not tells:
            what = f"a very large stress: up to {self._most * _UNITS['GPa']:.3g} GPa"
            finding = findings.add(WARNING, "stress", what, f"is this intended? {_HINT}", f"unit {file}")
            finding.concerns(self._large.count, self._large.places)

    def _wrong(self, slope: float) -> str:
        """What the stress looks like, if the energy changes by `slope` times what it gives."""
        sign = "the stress has the wrong sign" if slope < 0 else ""
        size = 1 / abs(slope)
        if size < _FACTOR and abs(slope) < _FACTOR:
            return sign
        units = {**_UNITS, "a virial in eV": self._volumes / len(self._points)}
        unit = min(units, key=lambda name: abs(math.log(size / units[name])))
        if unit not in _UNITS and slope < 0:
            return f"the stress looks like {unit}; read it with --keys virial=NAME"
        return f"the stress looks like {unit}" + (" with the wrong sign" if sign else "")


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
    compared = [(label, result["stress"]) for label, result in pairs if not is_failure(result)]
    if len(compared) < 2:
        reasons = (result["message"] for _, result in pairs if is_failure(result))
        why = next(reasons, "too few periodic frames have one")
        what = f"the stress could not be compared with the model's: {why}"
        findings.add(WARNING, "stress", what)
        return
    count = len(compared)
    label, model = ([x for stress in side for x in stress] for side in zip(*compared, strict=True))
    across = sum(x * y for x, y in zip(label, model, strict=True))
    of_labels, of_model = math.sqrt(sum(x * x for x in label)), math.sqrt(sum(x * x for x in model))
    correlation = across / (of_labels * of_model) if of_labels and of_model else 0.0
    evidence = f"in {counted(count, 'frame')} its correlation with the model's is {correlation:.2f}"
    if correlation < -_LEAST:
        what = f"the stress has the wrong sign: {evidence}"
        hint = "a positive stress is tension (as in ASE); multiply it by -1"
        findings.add(ERROR, "stress", what, hint).count = count
    elif correlation < _LEAST:
        what = f"the stress does not agree with the model's: {evidence}"
        findings.add(WARNING, "stress", what, "is the model accurate, and is the stress converged?").count = count
    ratio = of_labels / of_model if of_model else 1.0
    unit = min(_UNITS, key=lambda name: abs(math.log(ratio / _UNITS[name]))) if ratio > 0 else ""
    if abs(correlation) > _LEAST and unit and 0.5 < ratio / _UNITS[unit] < 2:
        what = f"the stress looks like {unit}: it is {ratio:.3g} times the model's"
        findings.add(ERROR, "stress", what, f"1 eV/Å³ is {_UNITS[unit]:.6g} {unit}", "unit").count = count
