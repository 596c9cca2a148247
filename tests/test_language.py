"""What users read is plain English: docs/style.md."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import click

from psiflow_cli.errors import counted
from psiflow_cli.main import main

ROOT = Path(__file__).parents[1]
NOT_USED = re.compile(
    r"\b(anew|afresh|mend(s|ed|ing)?|whence|hence|thereof|thereby|wherein|whereby|lest|albeit)\b", re.I
)
INVERTED = re.compile(r"\b(none that is|(there )?is no such \w+ but|that is none|so are those)\b", re.I)
TWICE_READ = re.compile(
    r"""(?<![Tt]here\ )\b(is|are|was)\ no\ (?!longer\b|more\b)\w  # is not a number
    |\b(go|goes|going|went)\ on\b(?!\ (the|a|to)\b)  # continue, resume
    |\b(takes?|taken)\ (over|up)\b  # reuse, follow
    |\b(begins?|began|begun)\ again\b  # start again
    |\bin\ place\ of\b  # instead of
    |\boverrule[sd]?\b  # override
    |\bat\ work\b|\bmay\ be\ had\b|\bhas\ come\b|\bcomes\ to\ its\ end\b|\bbut\ for\ (the|what|data)\b
    |\ is\ (ASE|i-PI|psiflow|NVIDIA|PLUMED|Parsl)'s\b|\ are\ (ASE|i-PI|psiflow|NVIDIA|PLUMED|Parsl)'s(?!\ \w)
    |\bleave\ (it|--?[\w-]+)\ out\b(?<!leave\ it\ out)  # leave out --option
    |\bname\ (another|the\ file|a\ file|one\ of)\b  # choose, give""",
    re.X,
)
# Where a message counts something, `errors.counted` chooses between "1 frame" and "2 frames". (What "of", "at least"
# or "the first" introduces is more than one, or can be read either way.)
NOT_COUNTED = re.compile(
    r"""\{\}\ \w+\(s\)
    |(^|[:,;(]\ ?|->\ )\{\}\ (atoms|blocks|cores|elements|epochs|frames|GPUs|hills|jobs|labels|models|nodes|runs|steps
    |structures|tasks|values|walkers|windows|workers)\b(?!:)""",
    re.X,
)
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


@functools.cache
def messages(path: Path) -> tuple[tuple[int, str], ...]:
    """Line and text of each string of a module that may be printed, without docstrings; `{}` is a value."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    parts |= {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            texts = [str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values]
            found.append((node.lineno, "".join(texts)))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            found.append((node.lineno, node.value))
    return tuple(found)


def test_messages_and_pages_are_understood_at_first_reading() -> None:
    pages = [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *(page for page in (ROOT / "docs").glob("*.md") if page.name != "style.md"),
        *(ROOT / "man").glob("*.[57]"),
        *(ROOT / "recipes").glob("*.sh"),
        *(ROOT / "site.d").glob("*.toml"),
    ]
    lines = [(path, line) for path in pages for line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)]
    lines += [(path, line) for path in (ROOT / "psiflow_cli").rglob("*.py") for line in messages(path)]
    assert len(lines) > 10000
    wrong = [f"{path.relative_to(ROOT)}:{n}: {text.strip()}" for path, (n, text) in lines if TWICE_READ.search(text)]
    assert not wrong, "\n".join(wrong)


def test_messages_count_one_thing_in_the_singular() -> None:
    assert counted(1, "frame") == "1 frame"
    assert counted(0, "frame") == "0 frames"
    assert counted(1, "trajectory", "trajectories") == "1 trajectory"
    assert counted(2, "trajectory", "trajectories") == "2 trajectories"
    lines = [(path, line) for path in (ROOT / "psiflow_cli").rglob("*.py") for line in messages(path)]
    wrong = [f"{path.relative_to(ROOT)}:{n}: {text.strip()}" for path, (n, text) in lines if NOT_COUNTED.search(text)]
    assert not wrong, "\n".join(wrong)


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


def test_troubleshooting_quotes_messages_as_they_are_printed() -> None:
    printed = "\n".join(text for path in (ROOT / "psiflow_cli").rglob("*.py") for _, text in messages(path))
    quoted = re.findall(r'"([^"\n]+)"\*\*', (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8"))
    assert len(quoted) > 10
    assert [text for text in quoted if text not in printed] == []
