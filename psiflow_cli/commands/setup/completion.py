"""psiflow completion: what makes a shell complete commands, options, sites, models and runs."""

from __future__ import annotations

import os

import click

from psiflow_cli import options
from psiflow_cli.console import note
from psiflow_cli.errors import UsageError
from psiflow_cli.values import kinds

SHELLS = ("bash", "zsh", "fish")
_shell = click.argument("shell", required=False, metavar="[bash|zsh|fish]", type=kinds.Word(SHELLS))


@click.group("completion", cls=options.Group)
def command() -> None:
    """Let a shell complete commands, options, sites, models and runs.

    \b
    Examples:
      psiflow completion install
      psiflow completion show zsh > _psiflow
    """


@command.command("install", short_help="Install the completion where the shell looks for it")
@_shell
@options.flag("--overwrite", "Replace a file that psiflow did not write.")
@options.talk
def install(shell: str | None, overwrite: bool) -> None:
    """Install the completion of a shell (default: the one of $SHELL) where that shell looks for it.

    This is the user folder of bash-completion, zsh's site-functions or fish's completions; no other file is changed. If
    a line has to be added to ~/.bashrc or ~/.zshrc, it is printed.

    \b
    Examples:
      psiflow completion install
      psiflow completion install fish
    """
    from psiflow_cli.stages.setup import completion_file

    shell = shell or _own_shell()
    path = completion_file.place(shell)
    written = completion_file.write(path, _script(shell), overwrite)
    note(f"wrote {path}" if written else f"{path} is up to date")
    for line in completion_file.advice(shell, path):
        note(line)


@command.command("show", short_help="Print the completion of a shell")
@_shell
@options.talk
def show(shell: str | None) -> None:
    """Print the completion script of a shell (default: the one of $SHELL), to be put anywhere.

    \b
    Examples:
      psiflow completion show zsh > ~/.zfunc/_psiflow
    """
    click.echo(_script(shell or _own_shell()), nl=False)


def _own_shell() -> str:
    name = os.path.basename(os.environ.get("SHELL", ""))
    if name not in SHELLS:
        what = f"of {name} is not known" if name else "is not known: $SHELL is empty"
        raise UsageError(f"the completion {what}", f"give one of {', '.join(SHELLS)}")
    return name


def _script(shell: str) -> str:
    """What click makes for a shell; zsh's begins with `#compdef`, which has to stay the first line."""
    from click.shell_completion import get_completion_class

    maker = get_completion_class(shell)
    assert maker is not None  # click has all of SHELLS
    root = click.get_current_context().find_root()
    return str(maker(root.command, {}, "psiflow", "_PSIFLOW_COMPLETE").source()).strip() + "\n"
