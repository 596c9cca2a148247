"""Does a command run on another machine? Its site says so with `[remote]`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from psiflow_cli import atomic_file, defaults

if TYPE_CHECKING:
    import click

    from psiflow_cli.messages import Asked

HERE = ("rattle", "split", "plot", "report")
"""Commands for which any machine is good enough."""
PLAN = "PSIFLOW_PLAN"
"""Environment variable: the file to which a command writes what it is about, in place of running its stage."""


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


def tell_plan(asked: Asked) -> None:
    """Where a plan is all that is wanted, write it down and exit."""
    if path := os.environ.get(PLAN):
        atomic_file.write(Path(path), json.dumps(asked))
        sys.exit(0)
