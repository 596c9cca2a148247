"""The options of a command in sections of its help, by their kind."""

from __future__ import annotations

import click

from psiflow_cli.values import kinds

_RUNNING = {"--site", "--run-dir", "--overwrite", "--deadline", "--dry-run", "--json", "-q", "-v", "--debug", "--help"}
"""Options that are about the run, whatever the command does."""


class Sectioned(click.Command):
    """A command whose help lists what it does, what it writes and how it runs, apart."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """What the command does, what it writes, and how it runs, each in a section of its own."""
        sections: dict[str, list[tuple[str, str]]] = {"Options": [], "Output": [], "Running": []}
        for param in self.get_params(ctx):
            if isinstance(param, click.Option) and (record := param.get_help_record(ctx)):
                title = "Output" if isinstance(param.type, kinds.Output) else "Options"
                sections["Running" if _RUNNING & set(param.opts) else title].append(record)
        width = min(30, max(len(names) for records in sections.values() for names, _ in records))  # click's own limit
        for title, records in sections.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl([(names.ljust(width), text) for names, text in records])
