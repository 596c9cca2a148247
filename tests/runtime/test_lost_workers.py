"""A task that loses its worker is tried elsewhere first; what is finished there speaks against the first place."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from psiflow_cli.runtime.block_faults.lost_workers import LostWorkers
from psiflow_cli.runtime.task import Task

DIED = ""


class Places:
    """Nodes of two GPUs each, whose workers are connected, and what is left out."""

    def __init__(self, *nodes: str) -> None:
        self.nodes, self.left_out = list(nodes), []
        resolved = SimpleNamespace(run=SimpleNamespace(max_node_failures=2), gpus=("0", "1"), context={"gpus": 1})
        self.workers = LostWorkers(resolved, lambda: self.nodes, lambda node, why: self.left_out.append((node, why)))

    def dies_on_first(self, first: str, then: str, words: str = DIED) -> Task:
        """A task that is lost at one place and finished at the other."""
        task = Task("", {})
        assert not self.workers.lost(task, first, words), "it may be the place"
        assert first in self.workers.avoid(task)
        self.workers.finished(task, [then.partition(" GPU ")[0], then])
        return task


def test_a_node_on_which_several_tasks_die_is_left_out():
    places = Places("n1", "n2")
    places.dies_on_first("n1", "n2")
    assert not places.left_out
    places.dies_on_first("n1", "n2")
    assert places.left_out == [("n1", "2 tasks lost their workers there and were finished elsewhere")]
    assert places.workers.avoid(Task("", {})) == ["n1"], "its other blocks"


def test_a_task_that_dies_everywhere_is_to_blame():
    places = Places("n1", "n2", "n3")
    for _ in range(9):
        task = Task("", {})
        assert not places.workers.lost(task, "n1", DIED)
        assert places.workers.lost(task, "n2", DIED) == 2, "the first counts, too"
        assert places.workers.lost(task, "n3", DIED) == 1
        assert places.workers.avoid(task) == []
        places.workers.finished(task, ["n3"])
    assert not places.left_out


def test_a_group_is_finished_elsewhere_when_all_of_it_is():
    """One frame of it may be the reason, and kills the next worker too."""
    places = Places("n1", "n2")
    for _ in range(5):
        group = Task("", {}, units=3)
        places.workers.lost(group, "n1", DIED)
        alone = [Task("", {}, losses=list(group.losses)) for _ in range(3)]
        for task in alone[:2]:
            places.workers.finished(task, ["n2"])
        assert places.workers.lost(alone[2], "n2", DIED)
    assert not places.left_out


def test_without_another_place_the_task_is_to_blame():
    places = Places("n1")
    task = Task("", {})
    assert places.workers.lost(task, "n1", DIED)
    assert places.workers.avoid(task) == []


def test_a_node_that_goes_on_finishing_tasks_stays():
    places = Places("n1", "n2")
    for _ in range(5):
        places.dies_on_first("n1", "n2")
        for _ in range(10):
            places.workers.finished(Task("", {}), ["n1"])
    assert not places.left_out


def test_a_gpu_that_keeps_failing_gets_no_more_tasks():
    places = Places("n1")
    for _ in range(2):
        places.dies_on_first("n1 GPU 0", "n1 GPU 1", "uncorrectable ECC error")
    words = "2 tasks lost their workers there and were finished elsewhere (uncorrectable ECC error)"
    assert places.left_out == [("n1 GPU 0", words)]
    assert places.workers.avoid(Task("", {})) == ["n1 GPU 0"]
    places.nodes.append("n2")
    for _ in range(2):
        places.dies_on_first("n1 GPU 1", "n2 GPU 0")
    assert [place for place, _ in places.left_out] == ["n1 GPU 0", "n1"], "it has no other GPU"


@pytest.mark.parametrize("last", ["n2", "n1"])
def test_bad_places_are_used_where_there_is_no_other(last):
    places = Places("n1", "n2")
    for _ in range(2):
        places.dies_on_first("n1", "n2")
    places.nodes = [last]
    assert places.workers.avoid(Task("", {})) == (["n1"] if last == "n2" else [])
