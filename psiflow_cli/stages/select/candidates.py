"""The frames that compete for being chosen, and why others do not."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import chain

from psiflow_cli.extxyz import Frame
from psiflow_cli.extxyz.isolated import is_isolated_atom
from psiflow_cli.stages.core.ids import IdSet, Universe
from psiflow_cli.stages.core.results import Results, Survey
from psiflow_cli.stages.core.workspace import Workspace
from psiflow_cli.stages.select.grouping import composition

_REASONS = 100
"""So many failures are asked why."""


class Pool:
    """One look at every frame; of the inputs, the first `competing` are chosen from, the others are there already."""

    def __init__(self, workspace: Workspace, competing: int, see: Callable[[Frame], None]) -> None:
        """`see` is called with each frame that is chosen from."""
        self.kinds: list[str] = []
        """The compositions, such as H2O."""
        self._kind_of = array("i")
        self._out: dict[int, str] = {}
        self.left_out: Counter[str] = Counter()
        """How many frames were left out, by reason."""
        self.failures: Counter[str] = Counter()
        """How many of them since workers could not compute what decides, by class."""
        self.reasons: set[str] = set()
        """What some of them said."""
        known: dict[str, int] = {}
        self.size = 0

        def competitors() -> Iterator[Frame]:
            for number in range(competing):
                for frame in workspace.frames_of(number):
                    kind = composition(frame.symbols)
                    self._kind_of.append(known.setdefault(kind, len(known)))
                    if is_isolated_atom(frame):
                        self._out[self.size] = "isolated atom"
                    elif "failure" in frame.info:
                        self._out[self.size] = "failed before"
                    see(frame)
                    self.size += 1
                    yield frame

        others = chain.from_iterable(workspace.frames_of(number) for number in range(competing, len(workspace.sources)))
        self.survey = Survey(chain(competitors(), others), (), lambda _: None)
        self.kinds = list(known)
        self.there = IdSet(self.survey.distinct, self.survey.ids[self.size :])
        """The structures that are there already."""
        self.candidates = array("q", self._candidates())
        """The places in the input of those that compete, each structure once."""

    def _candidates(self) -> Iterator[int]:
        seen = IdSet(self.survey.distinct)
        for index, key in enumerate(self.survey.ids[: self.size]):
            why = self._out.get(index) or ("excluded" if key in self.there else "duplicate" if key in seen else "")
            if why:
                self.left_out[why] += 1
            else:
                seen.add(key)
                yield index

    def kind(self, index: int) -> str:
        """The composition of the frame at a place in the input."""
        return self.kinds[self._kind_of[index]]

    def leave_out(self, keep: Callable[[int], str]) -> None:
        """Take out the candidates for which `keep` gives a reason."""
        kept = array("q")
        for index in self.candidates:
            if why := keep(index):
                self.left_out[why] += 1
            else:
                kept.append(index)
        self.candidates = kept

    def fail(self, why: str, results: Results) -> None:
        """Take out the candidates that have a failure there."""
        ids, failures = self.survey.ids, results.failures
        failed = [ids[index] for index in self.candidates if ids[index] in failures]
        self.failures.update(failures[key] for key in failed)
        self.reasons |= {results.of(key)["message"] for key in failed[:_REASONS]}
        self.leave_out(lambda index: why if ids[index] in failures else "")

    def keys(self, universe: Universe) -> IdSet:
        """The structures of the candidates."""
        return IdSet(universe, (self.survey.ids[index] for index in self.candidates))
