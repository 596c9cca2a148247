"""Executors and providers: one file each in `runtime/executors/` and `runtime/providers/`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from pathlib import Path

    from parsl.executors.base import ParslExecutor
    from parsl.providers.base import ExecutionProvider

    from psiflow_cli.site import schema
    from psiflow_cli.site.executor import ResolvedExecutor


@runtime_checkable
class Executor(Protocol):
    """A kind of Parsl executor."""

    def build(self, resolved: ResolvedExecutor, provider: ExecutionProvider, folder: Path) -> ParslExecutor:
        """Parsl's executor, whose processes end with this one; `folder` has a name that a shell need not quote."""


@runtime_checkable
class Starts(Protocol):
    """An executor with something left to do once it has started."""

    def started(self, executor: ParslExecutor) -> None:
        """Do it."""


@runtime_checkable
class Stops(Protocol):
    """An executor that must be told to begin no more tasks."""

    def stop(self, executor: ParslExecutor) -> None:
        """Begin with no more tasks."""


@runtime_checkable
class Tidies(Protocol):
    """An executor that leaves files behind which nobody needs."""

    def tidy(self, folder: Path) -> None:
        """Remove them."""


@runtime_checkable
class AsksForResources(Protocol):
    """An executor that is told what each task needs."""

    def resources(self, resolved: ResolvedExecutor) -> dict[str, int]:
        """Parsl's `parsl_resource_specification`."""


@runtime_checkable
class ExplainsLoss(Protocol):
    """An executor with its own errors for tasks that are lost with their worker."""

    def lost(self, error: BaseException) -> tuple[str, bool] | None:
        """What became of the task, and whether it is alone to blame; None for another kind of error."""


@runtime_checkable
class Provider(Protocol):
    """Where resources come from: a table of the site file, `Provider`, and what Parsl makes of it."""

    Provider: type[schema.Provider]

    def build(self, provider: Any, resolved: ResolvedExecutor) -> ExecutionProvider:
        """Parsl's provider of a table, which is this module's own `Provider`."""


@runtime_checkable
class Cancels(Protocol):
    """A provider whose jobs a program ends by their ids."""

    CANCEL: str


@runtime_checkable
class CancelsByName(Protocol):
    """A provider whose program that ends jobs takes their names, too."""

    CANCEL_BY_NAME: str
    """The option, up to the name."""


@runtime_checkable
class Excludes(Protocol):
    """A provider whose batch system can be told to leave nodes out."""

    def exclude(self, provider: Any, nodes: list[str]) -> str:
        """Further lines of the script, each with its line break."""


@runtime_checkable
class KeepsOff(Protocol):
    """A provider whose batch system can be told that of jobs in its queue, too."""

    def keep_off(self, provider: Any, nodes: list[str], jobs: list[str]) -> None:
        """Let none of these jobs begin on one of these nodes; one that has begun is left alone."""


@runtime_checkable
class KnowsNodes(Protocol):
    """A provider whose batch system tells on which nodes a job was, though its script had no time to say it."""

    def nodes_of(self, provider: Any, job: str) -> str:
        """In the batch system's own form; "" if it does not know."""


@runtime_checkable
class Retranslates(Protocol):
    """A provider of which Parsl misreads some words for the state of a job."""

    STATES: dict[str, str]
    """Parsl's state by the batch system's word."""


@runtime_checkable
class JudgesWaiting(Protocol):
    """A provider that knows which of its queue's reasons never pass by themselves."""

    def lasting(self, reason: str) -> str:
        """What to do about a reason; "" for one that may pass."""


@runtime_checkable
class TellsWhy(Protocol):
    """A provider whose batch system must be asked why its jobs wait, since Parsl does not."""

    WHY: list[str]  # the command that tells of the jobs whose ids follow

    def why(self, text: str) -> dict[str, str]:
        """The reasons by job in what it prints."""


@runtime_checkable
class FindsProblems(Protocol):
    """A provider that can ask its batch system about a table: what `psiflow site check` asks."""

    def problems(self, provider: Any) -> list[str]:
        """What is wrong with partition, account, limits; a line each."""


@runtime_checkable
class TriesSubmission(Protocol):
    """A provider whose batch system can be asked about a script without submitting it."""

    def refusal(self, provider: Any, script: str) -> str:
        """What it says against it, or ""."""
