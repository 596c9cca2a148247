"""Does a command run on another machine? Its site says so with `[remote]`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from psiflow_cli import defaults

if TYPE_CHECKING:
    from pathlib import Path

    import click

    from psiflow_cli.site.schema import Remote

HERE = ("rattle", "split", "plot", "report")
"""Commands for which any machine is good enough."""


def check(path: Path, remote: Remote, flags: list[str]) -> int:
    """`psiflow site check` on the machine of a site; returns its exit code."""
    from psiflow_cli.remote import arguments, client

    name = str(path.absolute())
    call = client.Call(
        names=["site", "check"], typed=[*flags, name], paths=arguments.Named(outputs=[name]), site=path,
        remote=remote, overwrite=False, dry_run=True, deadline=None,
    )  # fmt: skip
    return client.check(call)


def perform(context: click.Context, site: str, deadline: float | None) -> None:
    """Run the command on the machine of its site, and exit with its code; return if that is this machine."""
    from psiflow_cli.site import load

    path = load.find(site)
    remote = load.parse(path).remote
    if remote is None or context.info_name in HERE:
        return
    from psiflow_cli.remote import arguments, client

    given = context.meta[defaults.ARGUMENTS]
    call = client.Call(
        names=context.command_path.split()[1:], typed=given, paths=arguments.named(context, given), site=path,
        remote=remote, overwrite=bool(context.params["overwrite"]), dry_run=bool(context.params["dry_run"]),
        deadline=deadline,
    )  # fmt: skip
    sys.exit(client.perform(call))
