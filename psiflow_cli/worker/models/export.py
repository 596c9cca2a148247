"""What a model is turned into on a worker: files of other programs, and compiled models."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from psiflow_cli.worker.models.weights import check
from psiflow_cli.worker.pool import call

if TYPE_CHECKING:
    from psiflow_cli.messages import CompiledModel, Context


def export(
    family: str, members: list[str], weights: dict[str, str], target: str, form: str, folder: str, context: Context
) -> str:
    """The file or folder, made in `folder`, that another program reads; see `protocols.Model.export`.

    `weights` (path: sha256) must be what is there: raises Fatal where a file was replaced.
    """
    check(weights)
    return str(
        call.resolve(f"{family}:export")(members=members, target=target, form=form, folder=folder, context=context)
    )


def compiled(
    family: str, member: str, weights: dict[str, str], target: str, folder: str, context: Context
) -> CompiledModel:
    """A member compiled for `target`, made in `folder`; see `protocols.Model.compile`. `weights` as for `export`."""
    check(weights)
    build = call.resolve(f"{family}:compile")
    return cast("CompiledModel", build(member=member, target=target, folder=folder, context=context))
