"""What users read is plain English: docs/style.md."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click

from psiflow_cli.main import main

ROOT = Path(__file__).parents[1]
NOT_USED = re.compile(
    r"\b(anew|afresh|mend(s|ed|ing)?|whence|hence|thereof|thereby|wherein|whereby|lest|albeit)\b", re.I
)
INVERTED = re.compile(r"\b(none that is|(there )?is no such \w+ but|that is none|so are those)\b", re.I)
BARE = re.compile(r"(Of|On|As|For|By|At|In|From|Where|That|What it is)\b")
IMPERATIVE = re.compile(r"[A-Z][a-z]+\b")


def commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    yield name, command
    for word, below in getattr(command, "commands", {}).items():
        yield from commands(below, f"{name} {word}")


COMMANDS = dict(commands(main, "psiflow"))


def test_help_lines_name_what_the_option_is() -> None:
    allowed = {"For committee and error"}  # which applies to some of a choice only
    wrong = [
        f"{name} {option.opts[-1]}: {option.help}"
        for name, command in COMMANDS.items()
        for option in command.params
        if isinstance(option, click.Option)
        and (not option.help or (BARE.match(option.help) and not option.help.startswith(tuple(allowed))))
    ]
    assert not wrong


def test_a_command_says_what_it_does_in_the_imperative() -> None:
    for name, command in COMMANDS.items():
        first = (command.help or "").split(". ")[0]
        assert IMPERATIVE.match(first), name
        assert not re.match(r"(The|A|An|What|How|Which|Of|One)\b", first), name
        assert name == "psiflow" or (command.short_help and not re.match(r"(The|A|What|How)\b", command.short_help)), (
            name
        )


def test_no_words_that_nobody_uses() -> None:
    pages = [
        ROOT / "README.md",
        *(page for page in (ROOT / "docs").rglob("*.md") if page.name != "style.md"),
        *(ROOT / "man").glob("*.[1-9]"),
        *(ROOT / "recipes").rglob("*.sh"),
        *(ROOT / "site.d").glob("*.toml"),
        *(ROOT / "psiflow_cli").rglob("*.py"),
    ]
    assert len(pages) > 400
    wrong = [
        f"{page.relative_to(ROOT)}:{number}: {line.strip()}"
        for page in pages
        for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1)
        if NOT_USED.search(line) or INVERTED.search(line)
    ]
    assert not wrong
