"""The `psiflow` command: the one place where an error becomes text and an exit code."""

from __future__ import annotations

import errno
import gc
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from psiflow_cli import __version__, console, errors
from psiflow_cli.commands.catalogue import SECTIONS, Commands
from psiflow_cli.console import Verbosity, problem

_HELP_WIDTH = 100


class Psiflow(click.Group):
    """The group; runs a command and maps whatever it raises to the exit codes of the contract."""

    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> NoReturn:
        extra.pop("standalone_mode", None)
        console.open_streams()
        gc.freeze()  # what is loaded by now stays; looking at it again at the end would take a tenth of --help
        if "_PSIFLOW_COMPLETE" in os.environ:
            from psiflow_cli.completion import teach

            teach(self)
        Verbosity.quiet, Verbosity.verbose, Verbosity.debug = False, 0, False
        try:
            extra.setdefault("terminal_width", console.help_width(_HELP_WIDTH))
            code = super().main(args=args, prog_name=prog_name or "psiflow", standalone_mode=False, **extra)
            sys.stdout.flush()
        except (click.exceptions.Exit, SystemExit) as end:
            code = end.exit_code if isinstance(end, click.exceptions.Exit) else end.code
        except BaseException as error:
            if Verbosity.debug:
                import traceback

                traceback.print_exc()
            code = explain(error)
        sys.exit(code if isinstance(code, int) else 0)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the help."""
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """All commands by stage of the loop, without importing them."""
        width = max(len(name) for section in SECTIONS.values() for name in section)
        for title, section in SECTIONS.items():
            if title:
                with formatter.section(title):
                    formatter.write_dl([(name.ljust(width), summary) for name, (_, summary) in section.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            names = [name for title, section in SECTIONS.items() if title for name in section]
            raise errors.UsageError(f"no command {args[0]!r}", errors.nearest(args[0], names))
        return super().resolve_command(ctx, args)


def explain(error: BaseException) -> int:
    """Print an error in one or two lines and return its exit code."""
    if isinstance(error, errors.PsiflowError):
        problem(error.message, error.hint)
        return error.exit_code
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        console.print_line(error.format_message())
        return errors.USAGE
    if isinstance(error, click.ClickException):
        ctx = getattr(error, "ctx", None)
        hint = getattr(error, "hint", "") or (f"{ctx.command_path} --help" if ctx else "psiflow --help")
        text = " ".join(error.format_message().split())
        if isinstance(error, click.NoSuchOption) and error.possibilities:
            text, hint = f"no such option {error.option_name}", errors.nearest(error.option_name, error.possibilities)
        problem(text, hint)
        return errors.USAGE
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        problem("interrupted")
        return errors.INTERRUPTED
    if isinstance(error, BrokenPipeError):
        console.abandon_stdout()  # its reader has gone
        return 141  # what a shell reports for SIGPIPE
    if isinstance(error, OSError):
        if not error.filename:
            console.abandon_stdout()  # it may be what cannot be written
        return _explain_os(error)
    from psiflow_cli import registry

    fault = registry.own_fault(error)
    if fault:
        problem(fault.message, fault.hint)
        return fault.exit_code
    problem(f"a bug in psiflow: {type(error).__name__}: {error}", "--debug shows the traceback; please report it")
    return errors.BUG


def _explain_os(error: OSError) -> int:
    where = f"{error.filename}: " if error.filename else ""
    what = error.strerror or str(error)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        problem(f"{where}{what}", "check the permissions, or choose another --output or --run-dir")
        return errors.CANNOT_CREATE
    hint = "free some disk space and run the same command again" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
    problem(f"{where}{what}", hint or "the journal is intact: run the same command again")
    return errors.IO_ERROR


@click.group(cls=Psiflow, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": _HELP_WIDTH})
@click.version_option(__version__, prog_name="psiflow")
def main() -> None:
    """Make machine-learned interatomic potentials: label, train, sample, repeat.

    Each command reads files, runs one stage on the resources of a site file, writes files and exits. Run the same
    command again to continue where it stopped.

    \b
    Examples:
      psiflow label data.xyz --reference cp2k --input cp2k.inp -o labelled.xyz
      psiflow train labelled.xyz --arch mace -o water.model
      psiflow sample start.xyz --model water.model --temperature 330 --walkers 16 -o traj.xyz
      psiflow status

    psiflow help COMMAND describes each command. psiflow completion install sets up completion with the Tab key.
    """


main.commands = Commands()  # type: ignore[assignment]
