"""The group of commands: what a user sees who names none, or one that there is not."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from psiflow_cli.main import main

GROUPS = [name for name, command in main.commands.items() if isinstance(command, click.Group)]


@pytest.mark.parametrize("arguments", [[], *([name] for name in GROUPS)])
def test_a_group_alone_shows_its_commands_in_whole_lines(arguments: list[str]) -> None:
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 2
    group = main.commands[arguments[0]] if arguments else main
    assert isinstance(group, click.Group)
    lines = done.stderr.splitlines()
    for name, command in group.commands.items():
        assert any(line.split()[:1] == [name] and line.endswith(command.short_help or "?") for line in lines), name
    assert "hint:" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(("typed", "meant"), [("lable", "label"), ("smaple", "sample"), ("modle", "model")])
def test_a_mistyped_command_is_told_the_nearest(typed: str, meant: str) -> None:
    done = CliRunner().invoke(main, [typed, "in.xyz"])
    assert done.exit_code == 2
    assert done.stderr == f"psiflow: no command '{typed}'\n  hint: did you mean '{meant}'?\n"
