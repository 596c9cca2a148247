"""psiflow remote: the far end of a connection."""

from __future__ import annotations

import click

from psiflow_cli import options


@click.command("remote", cls=options.Command, hidden=True)
def command() -> None:
    """Start and follow commands for a psiflow on another machine, which talks through stdin and stdout.

    It is started over ssh where a site has a table [remote], see psiflow-site(5); nobody needs to type it.
    """
    from psiflow_cli.remote import agent

    agent.serve()
