"""What is wrong with a data set, found by reading it once, and by a few numbers from workers."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from psiflow_cli import extxyz
from psiflow_cli.elements import SYMBOLS
from psiflow_cli.errors import BadData
from psiflow_cli.stages.check import contacts, stresses
from psiflow_cli.stages.check.copies import Copies
from psiflow_cli.stages.check.energies import Energies
from psiflow_cli.stages.check.findings import ERROR, WARNING, FindingFacts, Findings, Places, SomePlaces
from psiflow_cli.stages.check.forces import Forces
from psiflow_cli.stages.check.methods import Methods
from psiflow_cli.stages.check.names import Names
from psiflow_cli.stages.check.origin import Origin
from psiflow_cli.stages.check.sample import Keys, Table, read
from psiflow_cli.stages.check.units.units import Units
from psiflow_cli.stages.core.framewise import Work, compute
from psiflow_cli.stages.core.ids import IdSet
from psiflow_cli.stages.core.results import Results, Survey
from psiflow_cli.stages.core.structures import Structures
from psiflow_cli.stages.core.workspace import Job, Workspace
from psiflow_cli.worker.failures import MACHINE_FAILURES

if TYPE_CHECKING:
    from psiflow_cli.messages import Contact, Failure, Stress


VERSION = 4
"""Of the checks: one more whenever they find more, so that data are looked at again."""


class Summary(TypedDict):
    total: int
    elements: list[str]
    config_types: dict[str, int]
    subtracted: dict[str, int]
    errors: int
    warnings: int
    findings: list[FindingFacts]
    retry: bool


@dataclass(frozen=True)
class Checking:
    job: Job
    keys: Keys
    model: Work | None  # what strains a model's cell
    elements: tuple[str, ...] = ()  # those that the model knows; empty where nobody says


class Readable(Workspace):
    """A workspace whose inputs end where they can no longer be read; its result is what is said of them."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.broken: dict[int, BadData] = {}  # what ended an input, by its number

    def frames_of(self, number: int) -> Iterator[extxyz.Frame]:
        """Every frame of one input that can be read."""
        try:
            yield from super().frames_of(number)
        except BadData as error:
            self.broken[number] = error

    def copy_to_stdout(self) -> bool:
        """There is no output: stdout is for what is said of the frames."""
        return False


class Reading:
    """All that can be said of frames from reading them once, in constant memory and 74 bytes a frame."""

    def __init__(self, keys: Keys, elements: tuple[str, ...] = ()) -> None:
        self._keys = keys
        self.findings, self.places = Findings(), Places()
        self.origin, self.stresses = Origin(keys), stresses.Labelled(elements)
        self._table = Table()
        self._copies, self._energies, self._methods = Copies(self._table), Energies(self._table), Methods(self._table)
        self._structures = Structures()
        self._firsts = array("I")  # for each frame the number of the first of the same structure
        self._others = (Names(keys), Forces(), self.origin)
        # files come from different programs: each is asked what units it has
        self._units: defaultdict[str, Units] = defaultdict(Units)

    def see(self, frame: extxyz.Frame) -> None:
        sample = read(frame, self._keys, self.findings)
        self.places.note(sample.where)
        self._structures.add(frame)
        self._units[sample.where.file].see(sample)
        for check in (*self._others, self._table, self._copies, self._energies, self._methods, self.stresses):
            check.see(sample)

    def end(self) -> None:
        """All frames were seen: forget what tells structures apart, which is half of all that is held."""
        self._firsts, self._structures = self._structures.firsts(), Structures()

    def report(self) -> None:
        """Say what was found."""
        for check in self._others:
            check.report(self.findings)
        mixed = self._methods.report(self.findings, self.places)
        for units in self._units.values():
            units.report(self.findings, mixed)
        self._copies.report(self.findings, self._firsts, self.places)
        by_head = self._table.by_head()  # each is a method of its own
        for head, numbers in by_head.items():
            findings, atoms = Findings(), self.origin.atoms(head)
            if len(by_head) == 1:
                self._energies.report(findings, self.places, atoms)
            else:
                self._energies.part(numbers).report(findings, SomePlaces(self.places, numbers), atoms)
            self.findings.take(findings, f"head={head}" if self.origin.heads else "")


def run(checking: Checking, workspace: Readable) -> Summary:
    """Look for everything; returns the summary with the findings."""
    reading = Reading(checking.keys, checking.elements)
    findings, origin = reading.findings, reading.origin
    survey = Survey(workspace.frames(), (), reading.see)
    reading.end()
    workspace.run.begin(len(survey.distinct))
    with workspace.run.guard_end():
        for error in workspace.broken.values():
            text = f"{error.message}; the rest of this file was not checked"
            findings.add(ERROR, "unreadable", text, error.hint, text)
        reading.report()
        results: Results[Contact | Failure] = Results(workspace, contacts.WORK.fingerprint, survey.distinct)
        compute(workspace, contacts.WORK, survey, results, results.needed(retry_failed=False))
        contacts.report(results, findings, survey.ids, reading.places)
        if checking.model:
            _stress(checking.model, workspace, survey, reading)
    listed = findings.listed()
    return {
        "total": len(survey),
        "elements": sorted(origin.elements, key=SYMBOLS.index),
        "config_types": dict(sorted(origin.config_types.items())),
        "subtracted": dict(sorted(origin.subtracted.items())),
        "errors": sum(finding.severity == ERROR for finding in listed),
        "warnings": sum(finding.severity == WARNING for finding in listed),
        "findings": [finding.facts() for finding in listed],
        "retry": any(results.failures[key] in MACHINE_FAILURES for key in results.failures),
    }


def _stress(model: Work, workspace: Readable, survey: Survey, reading: Reading) -> None:
    """Compare some frames' stress with the model's."""
    chosen = reading.stresses.chosen(survey.ids)
    results: Results[Stress | Failure] = Results(workspace, model.fingerprint, survey.distinct)
    needed = IdSet(survey.distinct, (key for key in results.needed(retry_failed=False) if key in chosen))
    compute(workspace, model, survey, results, needed)
    stresses.report([(label, results.of(key)) for key, label in chosen.items()], reading.findings)
