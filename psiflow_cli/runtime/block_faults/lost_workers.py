"""Workers that died with their task: whether the task is to blame, or the node or the GPU that it ran on.

A task that lost its worker is tried at another place first, where there is one. If it is finished there, the first
place is to blame, and one that is to blame for several tasks gets no more; if it is lost there too, the task is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from psiflow_cli.errors import counted
from psiflow_cli.runtime.task import Loss, Task
from psiflow_cli.worker.pool.place import GPUS

if TYPE_CHECKING:
    from psiflow_cli.site.executor import ResolvedExecutor

_PATIENCE = 900  # times, of a second and more, that a task is refused by workers at the wrong places
_SOUND = 10  # so many tasks in a row that a place finishes clear it


class LostWorkers:
    """What is known of the places of an executor's workers; a place is a node, or GPUs of a node."""

    def __init__(
        self, resolved: ResolvedExecutor, nodes: Callable[[], Collection[str]], leave_out: Callable[[str, str], None]
    ) -> None:
        """`nodes` tells those with connected workers; `leave_out` gets a place without further tasks, and why."""
        self._resolved, self._nodes, self._leave_out = resolved, nodes, leave_out
        self._faults: Counter[str] = Counter()  # tasks that died there and were finished elsewhere
        self._sound: Counter[str] = Counter()  # tasks that were finished there since the last one that died
        self._words: dict[str, str] = {}
        self._bad: set[str] = set()

    def lost(self, task: Task, place: str, words: str) -> int:
        """Note a task that was lost alone; returns how many of its losses count as tries, as it may be to blame."""
        earlier = [loss for loss in task.losses if loss.place and loss.place != place]
        loss = Loss(place, task.units)
        task.losses.append(loss)
        if earlier:
            for each in (loss, *earlier):
                each.is_the_tasks = True
        self._words[place] = words
        self._sound[place] = 0
        if not earlier and self._is_elsewhere({place}):
            return 0
        uncounted = [each for each in task.losses if each.place and not each.is_counted]
        for each in uncounted:
            each.is_counted = True
        return len(uncounted)

    def finished(self, task: Task, places: Collection[str]) -> None:
        """Note where a task was finished."""
        for loss in task.losses:
            if loss.place and loss.place not in places and not loss.is_the_tasks:
                loss.finished_elsewhere += task.units
                if loss.finished_elsewhere == loss.units:
                    self._faults[loss.place] += 1
                    self._judge(loss.place)
        for place in places if self._faults else ():
            self._sound[place] += 1
            if self._sound[place] >= _SOUND:
                del self._faults[place]

    def avoid(self, task: Task) -> list[str]:
        """Where a task is not to run; empty unless it can run at another place, or has long waited for one."""
        if task.refusals >= _PATIENCE:
            return []
        own = {loss.place for loss in task.losses if loss.place and not loss.is_the_tasks}
        for places in (self._bad | own, self._bad):
            if places and self._is_elsewhere(places):
                return sorted(places)
        return []

    def _judge(self, place: str) -> None:
        count = self._faults[place]
        if place in self._bad or count < self._resolved.run.max_node_failures:
            return
        self._bad.add(place)
        node = place.partition(GPUS)[0]
        words = f"{counted(count, 'task')} lost their workers there and were finished elsewhere"
        words = f"{words} ({self._words[place]})" if self._words.get(place) else words
        if sum(each.startswith(f"{node}{GPUS}") for each in self._bad) >= self._slots():
            place = node
            self._bad.add(node)
        self._leave_out(place, words)

    def _slots(self) -> int:
        """How many slots of GPUs a node has."""
        return max(1, len(self._resolved.gpus) // max(self._resolved.context["gpus"], 1))

    def _is_elsewhere(self, places: Collection[str]) -> bool:
        """Whether a worker is connected at none of these places."""
        return any(self._has_room(node, places) for node in self._nodes())

    def _has_room(self, node: str, places: Collection[str]) -> bool:
        if node in places:
            return False
        without = sum(place.startswith(f"{node}{GPUS}") for place in places)
        return not without or without < self._slots()
