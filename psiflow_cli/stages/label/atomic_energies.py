"""Energies of isolated atoms by the same reference: every multiplicity that is possible, and the lowest is kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, cast

from psiflow_cli import extxyz
from psiflow_cli.elements import SYMBOLS
from psiflow_cli.errors import UsageError
from psiflow_cli.stages.core.framewise import compute
from psiflow_cli.stages.core.results import Results
from psiflow_cli.stages.core.workspace import Job, Workspace
from psiflow_cli.stages.label.output import with_failure, with_label
from psiflow_cli.stages.label.stage import Labelling, survey
from psiflow_cli.worker.failures import MACHINE_FAILURES

if TYPE_CHECKING:
    from psiflow_cli.messages import Failure, Label, LabelResult

_CORES = (0, 2, 10, 18, 36, 54, 86, 118)  # electrons of the noble gases


class Atoms(Workspace):
    """A workspace whose frames are single atoms: of the elements that were named, and of those in its inputs."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self._candidates = Path(self._converted.name) / "atoms.xyz"

    def frames(self) -> Iterator[extxyz.Frame]:
        """Every candidate: an element with a multiplicity, without a cell."""
        if not self._candidates.exists():
            text = "".join(self._texts())
            if not text:
                raise UsageError("no elements", "give them with --elements H,O, or give FRAMES that contain them")
            self._candidates.write_text(text)
        yield from extxyz.read(self._candidates)

    def _texts(self) -> Iterator[str]:
        elements = set(cast("list[str]", self.job.settings["elements"]))
        for frame in super().frames():
            elements.update(frame.symbols)
        for element in sorted(elements, key=SYMBOLS.index):
            for multiplicity in multiplicities(SYMBOLS.index(element) + 1):
                info = {"config_type": "IsolatedAtom", "multiplicity": multiplicity}
                yield extxyz.new_frame([element], [[0.0, 0.0, 0.0]], None, [False] * 3, info)


def multiplicities(number: int) -> list[int]:
    """2S + 1 of an atom's states that could be its lowest, from its valence electrons and where they fit."""
    most = _most_unpaired(number)
    return [unpaired + 1 for unpaired in range(most % 2, most + 1, 2)]


def ground_state(element: str) -> int | None:
    """2S + 1 of an atom by Hund's rule where s or p electrons decide it; None for d and f elements."""
    number = SYMBOLS.index(element) + 1
    to_the_noble_gas = next(c for c in _CORES if c >= number) - number
    is_s_or_p = to_the_noble_gas <= 5 or number - max(c for c in _CORES if c < number) <= 2
    return _most_unpaired(number) + 1 if is_s_or_p else None


def _most_unpaired(number: int) -> int:
    core = max(c for c in _CORES if c < number)
    valence = number - core
    if number in _CORES:
        return 0
    if valence <= 2:
        return 2 - valence
    # the s pair is counted to the d and f shells, whose elements may open it
    blocks = {2: (2, 0, 0), 10: (2, 0, 0), 18: (2, 10, 0), 36: (2, 10, 0), 54: (2, 10, 14), 86: (2, 10, 14)}
    s, d, f = blocks.get(core, (0, 0, 0))
    if f and valence <= 17:
        return min(valence - s, 18 - valence)
    valence -= f
    if d and valence <= s + d:
        return min(valence, s + d - valence)
    p = valence - s - d
    return min(p, 6 - p)


@dataclass(frozen=True)
class _Atom:
    """A candidate with what became of it."""

    frame: extxyz.Frame
    key: int
    result: LabelResult

    @property
    def label(self) -> Label | None:
        return None if "failure" in self.result else self.result

    @property
    def failure(self) -> Failure | None:
        return self.result if "failure" in self.result else None


class AtomsSummary(TypedDict):
    total: int  # elements
    computed: int  # states
    failed: int
    failures: dict[str, int]  # how many failed, by class
    failed_output: str | None
    failed_hint: str
    energies: dict[str, float]  # eV
    multiplicities: dict[str, int]
    reference: str  # its fingerprint
    output: str
    retry: bool  # something failed for the machine's reasons


def run(labelling: Labelling, workspace: Workspace) -> AtomsSummary:
    """Label every candidate and write the lowest of each element; an element fails if all of its states do."""
    surveyed, results, needed, planned, _ = survey(labelling, workspace)
    workspace.run.begin(planned.distinct)
    reference = labelling.method.fingerprint
    with workspace.run.guard_end():
        compute(workspace, labelling.work, surveyed, results, needed)
        chosen = _lowest(surveyed.ids, workspace, results)
        labels = {e: a.label for e, a in chosen.items() if a.label}
        failures = {e: a.failure for e, a in chosen.items() if a.failure}
        workspace.publish(with_label(chosen[e].frame, chosen[e].key, labels[e], reference) for e in labels)
        if failures:
            texts = (with_failure(chosen[e].frame, chosen[e].key, failures[e], reference) for e in failures)
            workspace.publish(texts, labelling.failed)
        else:
            workspace.run.remove_own(labelling.failed)
    classes: Counter[str] = Counter(failure["failure"] for failure in failures.values())
    return {
        "total": len(chosen), "computed": len(needed), "failed": len(failures), "failures": dict(classes),
        "failed_output": labelling.failed if failures else None,
        "failed_hint": "; ".join(f"{e}: {failure['message']}" for e, failure in list(failures.items())[:3]),
        "energies": {e: label["energy"] for e, label in labels.items()},
        "multiplicities": {e: cast("int", chosen[e].frame.info["multiplicity"]) for e in labels},
        "reference": reference, "output": labelling.job.output,
        "retry": any(kind in MACHINE_FAILURES for kind in classes),
    }  # fmt: skip


def _lowest(ids: Iterable[int], workspace: Workspace, results: Results) -> dict[str, _Atom]:
    """The best candidate of each element: the lowest that was labelled, else the last that failed."""
    chosen: dict[str, _Atom] = {}
    for key, frame in zip(ids, workspace.frames(), strict=True):
        atom, element = _Atom(frame, key, cast("LabelResult", results.of(key))), frame.symbols[0]
        best = chosen.get(element)
        if best is None or not best.label or (atom.label and atom.label["energy"] < best.label["energy"]):
            chosen[element] = atom
    return chosen
