"""Whether a further block may be asked for now: not while a pause after failures lasts, which grows with each."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from pathlib import Path

from psiflow_cli.runtime.block_faults import refusals
from psiflow_cli.runtime.block_faults.refusals import Kind

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
LOG = "refused-submissions.log"


@dataclass
class Pause:
    """Lasts from a failure on, twice as long after each further one."""

    failures: int = 0
    until: float = 0.0

    def begin(self) -> None:
        now = time.time()
        if now - self.until > 2 * LONGEST_PAUSE_S:
            self.failures = 0  # the last one is long ago
        self.until = now + min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**self.failures)
        self.failures += 1

    def end(self) -> None:
        self.failures, self.until = 0, 0.0

    def lasts(self) -> bool:
        return time.time() < self.until


@dataclass
class Admission:
    """Asked by Parsl's own thread before it asks for blocks, and told of what became of them."""

    folder: Path  # has the log of refusals
    tries: int  # how often a refusal in unknown words is tried again
    patience_s: float  # how long one that may pass is
    is_closed: bool = False
    is_waiting: bool = False  # no further block before those that are there have shown what they are worth
    refusal: str = ""  # in the words of the batch system; empty: the last submission was accepted
    refused_since: float = 0.0
    refused_again: int = 0
    unjudged: set[str] = field(default_factory=set)  # jobs that have ended, and may be a reason to wait
    after_refusals: Pause = field(default_factory=Pause)
    after_deaths: Pause = field(default_factory=Pause)

    def limit(self, blocks: int) -> int:
        """How many blocks there may be, of `blocks` at most: none more than there are, as 0 says, or all."""
        must_wait = self.is_waiting or self.unjudged or self.after_refusals.lasts() or self.after_deaths.lasts()
        return 0 if self.is_closed or must_wait else max(0, blocks)

    def accepted(self) -> None:
        self.refusal, self.refused_again = "", 0
        self.after_refusals.end()

    def refused(self, words: str) -> None:
        """Note a refusal, also in the log; the next submission waits."""
        if not self.refusal:
            self.refused_since = time.time()
        self.refusal = words
        self.refused_again += 1
        self.after_refusals.begin()
        with contextlib.suppress(OSError), (self.folder / LOG).open("a", encoding="utf-8") as log:
            log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {words}\n")

    def is_hopeless(self, alone_since: float) -> bool:
        """Whether to give up on submissions, with no block left since a time."""
        if not self.refusal:
            return False
        kind = refusals.kind(self.refusal)
        waited = time.time() - max(self.refused_since, alone_since)
        if kind is Kind.PASSING:
            return waited > self.patience_s
        return kind is Kind.LASTING or self.refused_again > self.tries
