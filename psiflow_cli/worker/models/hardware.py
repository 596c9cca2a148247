"""On what a model runs in a task, as its context says; what the context leaves out is one thread of a CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from psiflow_cli.messages import Context


def device(context: Context) -> str:
    """`cpu` or `cuda`."""
    return context.get("device") or "cpu"


def gpus(context: Context) -> int:
    """How many GPUs the task has; 0 on a CPU."""
    return int(context.get("gpus") or 1) if device(context) != "cpu" else 0


def threads(context: Context) -> int:
    """How many threads the task has."""
    return int(context.get("threads") or context.get("cores") or 1)


def set_threads(context: Context) -> None:
    """Let torch use the threads of the task."""
    import torch

    torch.set_num_threads(threads(context))
