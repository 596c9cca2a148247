"""How often a task is tried again, and the one call that follows this rule."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from psiflow_cli.errors import NO_RESOURCES, PsiflowError
from psiflow_cli.runtime.task import Loss, Outcome, Task
from psiflow_cli.stages.core import resubmission
from psiflow_cli.stages.core.single import perform

ALONE = Outcome(lost="its worker died", blame=1)
WITH_ITS_NODE = Outcome(lost="its node went away")


class Executor:
    """As many retries for a lost worker as it is made with; none for anything else."""

    cores = 2

    def __init__(self, retries: int) -> None:
        self._retries = retries

    def retries(self, failure: str) -> int:
        return self._retries if failure == "worker-lost" else 0


def test_a_loss_alone_counts_and_one_with_a_node_does_not():
    executor, task = Executor(1), Task("module:function", {}, note="mine", losses=[Loss("n1")])
    for _ in range(5):
        task = resubmission.after_loss(task, WITH_ITS_NODE, executor)
        assert (task.tries, task.losses, task.note) == (1, [Loss("n1")], "mine")
    task = resubmission.after_loss(task, ALONE, executor)
    assert task.tries == 2
    assert resubmission.after_loss(task, WITH_ITS_NODE, executor) == task
    assert resubmission.after_loss(task, ALONE, executor) is None


def test_each_class_of_failure_has_its_own_number():
    assert resubmission.has_try_left(Task("", {}), "worker-lost", Executor(1))
    assert not resubmission.has_try_left(Task("", {}, tries=2), "worker-lost", Executor(1))
    assert not resubmission.has_try_left(Task("", {}), "timeout", Executor(1))


class Session:
    """One outcome after another."""

    def __init__(self, retries: int, *outcomes: Outcome) -> None:
        self.executor = Executor(retries)
        self._outcomes = list(outcomes)
        self.tasks: list[Task] = []

    def submit(self, task: Task) -> None:
        self.tasks.append(task)

    def next(self) -> tuple[Task, Outcome]:
        return self.tasks[-1], self._outcomes.pop(0)


@pytest.fixture
def workspace():
    """What `perform` asks of one, with what it was told in `records`."""
    records: list[object] = []
    journal = SimpleNamespace(append=records.append)
    run = SimpleNamespace(
        journal=journal,
        request=SimpleNamespace(fingerprint="of-all"),
        note_lost=lambda ids, why: records.append((ids, why)),
    )
    return SimpleNamespace(run=run, job=SimpleNamespace(folder=Path("out.run")), records=records)


def test_a_single_call_follows_the_rule(workspace):
    done = Outcome(value=7, seconds=1.23456)
    session = Session(1, ALONE, WITH_ITS_NODE, done)
    assert perform(workspace, session, "module:function", {"x": 1}, "choice") == 7
    assert [task.tries for task in session.tasks] == [1, 2, 2]
    *losses, unit = workspace.records
    assert losses == [(["choice"], ALONE.lost), (["choice"], WITH_ITS_NODE.lost)]
    assert (unit["id"], unit["of"], unit["ok"], unit["s"], unit["cores"]) == ("choice", "of-all", True, 1.235, 2)


def test_a_single_call_that_is_lost_too_often(workspace):
    with pytest.raises(PsiflowError, match="choice: its worker died") as error:
        perform(workspace, Session(1, ALONE, ALONE), "module:function", {}, "choice")
    assert error.value.exit_code == NO_RESOURCES
    assert len(workspace.records) == 2  # the losses, and no unit


def test_a_single_call_that_is_no_unit_leaves_the_journal_alone(workspace):
    session = Session(1, ALONE, Outcome(error="it broke"))
    with pytest.raises(PsiflowError, match="choice: it broke"):
        perform(workspace, session, "module:function", {}, "choice", journal=False)
    assert not workspace.records
