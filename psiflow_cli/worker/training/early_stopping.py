"""When a training ends before its last epoch: its time is up, or the validation loss no longer falls.

MACE 0.3.16 counts epochs without improvement (`patience`) and says that it stops, but goes on unless it is distributed;
and it forgets the count over a restart. So psiflow counts instead.
"""

from __future__ import annotations

import time
from typing import TypedDict

DELIVERY_S = 6.0
"""What is kept of the time to write the best weights as a model, and to leave."""


class StoppingState(TypedDict):
    """What a later process has to know."""

    worst_epoch_s: float
    """The longest epoch."""
    stale: int
    """Epochs since the last improvement."""


class TrainingDone(Exception):
    """Train no further, and deliver the best weights so far."""


class Stopping:
    """Looks at the clock and at the validation loss after every epoch; `until` is in seconds since 1970."""

    def __init__(self, until: float | None = None, patience: int | None = None) -> None:
        self._until = until
        self._patience = patience
        self._mark = time.time()
        self._worst = 0.0
        self._stale = 0
        self.out_of_time = False

    def state(self) -> StoppingState:
        """What a later process has to know."""
        return {"worst_epoch_s": self._worst, "stale": self._stale}

    def resume(self, state: StoppingState) -> None:
        """Go on counting; raises TrainingDone where no epoch fits into the time, or none is wanted."""
        self._worst, self._stale = state["worst_epoch_s"], state["stale"]
        self.check()

    def mark(self) -> None:
        """An epoch begins now."""
        self._mark = time.time()

    def epoch(self, improved: bool | None) -> None:
        """Note a finished epoch; None: it was not validated."""
        self._worst = max(self._worst, time.time() - self._mark)
        if improved is not None:
            self._stale = 0 if improved else self._stale + 1
        self.mark()

    def begin_stage(self) -> None:
        """From now on the loss is another: the patience begins again."""
        self._stale = 0

    def check(self) -> None:
        """Raise TrainingDone where the longest epoch so far would not fit any more, or the patience is at its end."""
        if self._until is not None and time.time() + self._worst + DELIVERY_S > self._until:
            self.out_of_time = True
            raise TrainingDone
        if self._patience is not None and self._stale >= self._patience:
            raise TrainingDone
