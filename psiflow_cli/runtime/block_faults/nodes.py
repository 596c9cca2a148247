"""Nodes on which blocks fail: counted, and left out once they have failed often enough."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from psiflow_cli import protocols
from psiflow_cli.console import note
from psiflow_cli.errors import counted
from psiflow_cli.runtime.block_faults import output
from psiflow_cli.worker.pool.place import GPUS, short

if TYPE_CHECKING:
    from psiflow_cli.messages import NodeRecord
    from psiflow_cli.site.executor import ResolvedExecutor

_NAMED = 4  # nodes that a message names
_CANCELLED = 4  # so many blocks that were at work when somebody or a dying node ended them count as one that failed


class Nodes:
    """What is known of the nodes of an executor's blocks, and the blocks that ended without having been of use."""

    def __init__(
        self, resolved: ResolvedExecutor, provider: object, logs: Path, add_lines: Callable[[str], None]
    ) -> None:
        """`add_lines` sets further lines of the scripts of the blocks to come."""
        self._resolved, self._provider, self._logs, self._add_lines = resolved, provider, logs, add_lines
        self._deaths: list[frozenset[str]] = []  # since the last finished task: the nodes of each, as far as known
        self._cancelled = 0  # since then: blocks that were at work, and were ended from outside
        self._known: dict[str, list[str]] = {}  # the nodes of a block
        self.records: dict[str, NodeRecord] = {}

    @property
    def deaths(self) -> int:
        return len(self._deaths) + self._cancelled

    @property
    def unexplained(self) -> int:
        """Deaths that speak against the site as a whole: those on a node that is left out by now count once."""
        bad = set(self._excluded())
        explained = [min(nodes & bad) for nodes in self._deaths if nodes & bad]
        return len(set(explained)) + len(self._deaths) - len(explained) + self._cancelled // _CANCELLED

    def __str__(self) -> str:
        """How many blocks failed on which nodes, the worst first; "" where none is known."""
        worst = sorted(self.records, key=lambda name: (-self.records[name]["failed_blocks"], name))
        named = [f"{self.records[name]['failed_blocks']} on {name}" for name in worst[:_NAMED]]
        return ", ".join([*named, "…"] if len(worst) > _NAMED else named)

    def died(self, block: str, job: str, words: str, *, blame: bool, queued: list[str]) -> None:
        """Count a block that ended without use, and leave its nodes out if that is their fault, and not the first time.

        `queued` are the jobs that wait, which may still go there.
        """
        nodes = self.of(block, job)
        self._deaths.append(frozenset(nodes))
        limit = self._resolved.run.max_node_failures
        ill = []
        for name in nodes if blame else []:
            record = self.records.setdefault(name, {"failed_blocks": 0, "last_words": "", "excluded": False})
            record["failed_blocks"] += 1
            record["last_words"] = words or record["last_words"]
            if record["failed_blocks"] == limit:
                ill.append(name)
        if ill:
            words = self.records[ill[0]]["last_words"]
            self._leave_out(ill, f"{self._count(ill[0])} on {', '.join(ill)}{': ' if words else ''}{words}", queued)

    def exclude(self, place: str, blocks: Mapping[str, str], words: str, queued: list[str]) -> None:
        """Leave out the node with this host name, without its domain, for what `words` say; of a GPU, only note it.

        `blocks` are those that it is part of, with their jobs; `queued` the jobs that wait, which may still go there.
        """
        known = [name for block, job in blocks.items() for name in self.of(block, job)]
        name = next((name for name in known if short(name) == place), place)
        self.records.setdefault(name, {"failed_blocks": 0, "last_words": "", "excluded": False})["last_words"] = words
        if GPUS in place:
            self.records[name]["excluded"] = True
            note(f"{name}: {words}; no more tasks go there")
        else:
            self._leave_out([name], f"{name}: {words}", queued)

    def cancelled(self) -> None:
        """Count a block that was at work when it was ended from outside, which says little against the site."""
        self._cancelled += 1

    def _leave_out(self, ill: list[str], problem: str, queued: list[str]) -> None:
        kind = self._resolved.provider.type
        if not isinstance(self._provider, protocols.Excludes):
            note(f"{problem}; {kind} has no option to exclude a node")
            return
        for name in ill:
            self.records[name]["excluded"] = True
        every = self._excluded()
        self._add_lines(self._provider.exclude(self._resolved.provider, every))
        if isinstance(self._provider, protocols.KeepsOff) and queued:
            self._provider.keep_off(self._resolved.provider, every, queued)
        note(f"{problem}; no more blocks go there")

    def worked(self) -> None:
        """A task was finished somewhere."""
        self._deaths.clear()
        self._cancelled = 0

    def cleared(self, block: str, job: str) -> None:
        """A block has finished its first task: whatever its nodes did before, they are not to blame."""
        for name in self.of(block, job) if self.records else []:
            if name in self.records and not self.records[name]["excluded"]:
                del self.records[name]

    def of(self, block: str, job: str) -> list[str]:
        """The nodes of a block, as its script or else the batch system tells."""
        if block in self._known:
            return self._known[block]
        text = output.nodes(self._logs, self._resolved.label, block)
        if not text and isinstance(self._provider, protocols.KnowsNodes):
            text = self._provider.nodes_of(self._resolved.provider, job)
        if names := output.names(text):
            self._known[block] = names
        return names

    def _excluded(self) -> list[str]:
        return sorted(name for name, record in self.records.items() if record["excluded"] and GPUS not in name)

    def _count(self, name: str) -> str:
        count = self.records[name]["failed_blocks"]
        return f"{counted(count, 'block')} failed"
