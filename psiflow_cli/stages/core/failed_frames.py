"""What a summary says of frames that have no result, and the file that they go to."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

from psiflow_cli import extxyz
from psiflow_cli.stages.core.results import Results, Survey
from psiflow_cli.stages.core.workspace import Workspace
from psiflow_cli.worker.failures import MACHINE_FAILURES

if TYPE_CHECKING:
    from psiflow_cli.messages import Failure, Summary


def summary(survey: Survey, results: Results) -> Summary:
    """How many frames there are, how many failed of what, and why the first of each class did."""
    failures: Counter[str] = Counter()
    reasons: dict[str, str] = {}
    for key in survey.ids:
        if key in results.failures:
            kind = results.failures[key]
            failures[kind] += 1
            if kind not in reasons:  # one is read, of what may be all frames
                reasons[kind] = results.of(key)["message"]
    return {
        "total": len(survey), "failed": failures.total(), "failures": dict(failures),
        "failed_hint": "; ".join(dict.fromkeys(reasons.values())),
    }  # fmt: skip


def machine_failed(summary: Summary) -> bool:
    """Whether the machine is to blame for a failure, and the next invocation tries it again."""
    return any(kind in MACHINE_FAILURES for kind in summary["failures"])


def publish(workspace: Workspace, survey: Survey, results: Results, output: str, except_for: str = "") -> str | None:
    """Write failed frames as they came, each with the reason, to `output`, or delete that file if there are none.

    Those that failed `except_for` this reason are in the stage's own output. Returns the file, None for no such frame.
    """
    if all(kind == except_for for kind in results.failures.values()):
        workspace.run.remove_own(output)
        return None
    workspace.publish(_failed(workspace, survey.ids, results, except_for), output)
    return output


def text(frame: extxyz.Frame, failure: Failure, drop: tuple[str, ...] = extxyz.PREDICTIONS, **more: object) -> str:
    """The frame with why it has no result, behind `more` keys and without those to drop."""
    why = dict(zip(extxyz.FAILURE, (failure["failure"], failure["message"]), strict=True))
    return extxyz.render(frame, set_info={**more, **why}, drop=drop)


def _failed(workspace: Workspace, ids: array[int], results: Results, except_for: str) -> Iterator[str]:
    for key, frame in zip(ids, workspace.frames(), strict=True):
        if key in results.failures and results.failures[key] != except_for:
            yield text(frame, cast("Failure", results.of(key)))
