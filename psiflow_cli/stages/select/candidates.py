"""The frames that compete for being chosen, and why others do not."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from itertools import chain

from psiflow_cli.extxyz import Frame
from psiflow_cli.extxyz.frame import is_isolated_atom
from psiflow_cli.stages.core.ids import FrameIds, IdSet
from psiflow_cli.stages.core.results import Results, Survey
from psiflow_cli.stages.core.structures import Structures
from psiflow_cli.stages.core.workspace import Workspace
from psiflow_cli.stages.select.grouping import composition

_REASONS = 100  # so many failures are asked why


class Candidates:
    """One look at every frame; of the inputs, the first `competing` are chosen from, the others are there already."""

    def __init__(
        self, workspace: Workspace, competing: int, see: Callable[[Frame], None], inputs: tuple[str, ...] = ()
    ) -> None:
        """`see` is called with each frame that is chosen from; `inputs` are what a model reads besides structures."""
        self._composition_of = array("i")
        self._unfit: dict[int, str] = {}
        self.left_out: Counter[str] = Counter()  # how many frames were left out, by reason
        self.failures: Counter[str] = Counter()
        """How many of them since workers could not compute what decides, by class."""
        self.reasons: set[str] = set()  # what some of them said
        numbers: dict[str, int] = {}
        self.size = 0  # how many frames are chosen from, those that are left out included

        def competitors() -> Iterator[Frame]:
            for number in range(competing):
                for frame in workspace.frames_of(number):
                    self._composition_of.append(numbers.setdefault(composition(frame.symbols), len(numbers)))
                    if is_isolated_atom(frame):
                        self._unfit[self.size] = "isolated atom"
                    elif "failure" in frame.info:
                        self._unfit[self.size] = "failed before"
                    see(frame)
                    self.size += 1
                    yield frame

        others = chain.from_iterable(workspace.frames_of(number) for number in range(competing, len(workspace.sources)))
        structures = Structures()
        self.survey = Survey(chain(competitors(), others), inputs, structures.add)
        self._compositions = list(numbers)
        self.excluded = IdSet(self.survey.distinct, self.survey.ids[self.size :])
        """The structures that are there already."""
        self.places = array("q", self._competing(structures.firsts()))
        """In the input, of those that compete, each structure once."""

    def _competing(self, firsts: array[int]) -> Iterator[int]:
        """Those that are taken into account, by the number of the first frame of each one's structure."""
        excluded, competing = bytearray(self.size), bytearray(self.size)
        for first in firsts[self.size :]:
            if first < self.size:
                excluded[first] = 1
        for place, first in enumerate(firsts[: self.size]):
            why = self._unfit.get(place) or ("excluded" if excluded[first] else "duplicate" if competing[first] else "")
            if why:
                self.left_out[why] += 1
            else:
                competing[first] = 1
                yield place

    def composition(self, place: int) -> str:
        """Of the frame at a place in the input, such as H2O."""
        return self._compositions[self._composition_of[place]]

    def leave_out(self, reason: Callable[[int], str]) -> None:
        """Take out those for whose place there is a reason."""
        remaining = array("q")
        for place in self.places:
            if why := reason(place):
                self.left_out[why] += 1
            else:
                remaining.append(place)
        self.places = remaining

    def fail(self, why: str, results: Results[Mapping[str, object]]) -> None:
        """Take out those that have a failure there."""
        ids, failures = self.survey.ids, results.failures
        failed = [ids[place] for place in self.places if ids[place] in failures]
        self.failures.update(failures[key] for key in failed)
        self.reasons |= {str(results.of(key)["message"]) for key in failed[:_REASONS]}
        self.leave_out(lambda place: why if ids[place] in failures else "")

    def keys(self, universe: FrameIds) -> IdSet:
        """Their structures."""
        return IdSet(universe, (self.survey.ids[place] for place in self.places))
