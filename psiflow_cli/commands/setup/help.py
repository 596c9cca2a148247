"""psiflow help: what a command does, as its --help says."""

from __future__ import annotations

import click

from psiflow_cli import options
from psiflow_cli.errors import UsageError, nearest


@click.command("help", cls=options.Command)
@click.argument("words", nargs=-1, metavar="[COMMAND]...")
def command(words: tuple[str, ...]) -> None:
    """Show the help of a COMMAND, as its --help does; without COMMAND, list all commands.

    \b
    Examples:
      psiflow help label
      psiflow help model export
    """
    context = click.get_current_context().find_root()
    for word in words:
        group = context.command
        known = list(group.commands) if isinstance(group, click.Group) else []
        if not isinstance(group, click.Group) or word not in known:
            hint = nearest(word, known) if known else f"{context.command_path} --help"
            raise UsageError(f"{context.command_path} has no command {word!r}", hint)
        context = click.Context(group.commands[word], context, word)
    click.echo(context.get_help())
