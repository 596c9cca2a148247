"""An engine for molecular dynamics: one file or folder in `samplers/`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from psiflow_cli.protocols.back_end import BackEnd

if TYPE_CHECKING:
    from psiflow_cli.messages import BlockReport, Context, Dynamics, MDJob


@runtime_checkable
class Sampler(BackEnd, Protocol):
    """An engine for molecular dynamics."""

    BATCHED: bool
    """Whether it gains by moving walkers together; else a task has one, or those that exchange temperatures."""

    def refuses(self, settings: Dynamics) -> str:
        """Why it cannot do what these settings ask for, or ""; in the command's process."""

    def advance(self, job: MDJob, context: Context) -> BlockReport:
        """*worker*: move a group of walkers from its last checkpoint by `job["block"]` steps at most.

        A walker's path is decided by seed, number, start and settings, however it is cut into blocks and whoever else
        is in its group (to rounding). The folder is `worker.md.checkpoint.WalkerGroup`'s, the frames are
        `worker.md.frame_record.text`.
        """
