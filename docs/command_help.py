"""A hook of mkdocs: `<!-- help: NAME -->` becomes what `psiflow NAME --help` prints, and blocks get their names.

The comments before blocks that tests read (`tests/docs/blocks.py`) say which file a block is, or that it is an output.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import click

from psiflow_cli.main import main

_FILE = re.compile(r"^<!-- file: (\S+) -->\n```(\w*)$", re.MULTILINE)
_OUTPUT = re.compile(r"^<!-- output(?:: varies)? -->\n```text$", re.MULTILINE)
_CODE = re.compile(r"<code>.*?</code>", re.DOTALL)
_OPTION = re.compile(r"(?<![\w-])--?[a-z][a-z-]*")
_MARK = re.compile(r"<!-- help: ([a-z-]+) -->")


def _helps(command: click.Command, name: str, parent: click.Context) -> Iterator[str]:
    context = click.Context(command, info_name=name, parent=parent, max_content_width=80, terminal_width=80)
    yield f"```text\n{context.get_help()}\n```\n"
    for word, below in getattr(command, "commands", {}).items():
        yield f"### {context.command_path} {word}\n"
        yield from _helps(below, word, context)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """See mkdocs."""
    markdown = _FILE.sub(lambda found: f'```{found[2] or "text"} title="{found[1]}"', markdown)
    markdown = _OUTPUT.sub('```text title="output"', markdown)
    root = click.Context(main, info_name="psiflow")
    return _MARK.sub(lambda mark: "\n".join(_helps(main.commands[mark[1]], mark[1], root)), markdown)


def on_page_content(html: str, **_: Any) -> str:
    """See mkdocs; a browser would break a line behind the hyphens of an option."""
    return _CODE.sub(lambda code: _OPTION.sub(r'<span class="option">\g<0></span>', code[0]), html)
