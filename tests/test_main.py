"""The group of commands: what a user sees who names none, or one that there is not."""

from __future__ import annotations

import subprocess
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from psiflow_cli import errors
from psiflow_cli.main import main
from tests.commands.inputs import PSIFLOW, copper
from tests.faults.runs import SITE

GROUPS = [name for name, command in main.commands.items() if isinstance(command, click.Group)]


@pytest.mark.parametrize("arguments", [[], *([name] for name in GROUPS)])
def test_a_group_alone_shows_its_commands_in_whole_lines(arguments: list[str]) -> None:
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 2
    group = main.commands[arguments[0]] if arguments else main
    assert isinstance(group, click.Group)
    lines = done.stderr.splitlines()
    for name, command in group.commands.items():
        if command.hidden:
            continue
        assert any(line.split()[:1] == [name] and line.endswith(command.short_help or "?") for line in lines), name
    assert "hint:" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(("typed", "meant"), [("lable", "label"), ("smaple", "sample"), ("modle", "model")])
def test_a_mistyped_command_is_told_the_nearest(typed: str, meant: str) -> None:
    done = CliRunner().invoke(main, [typed, "in.xyz"])
    assert done.exit_code == 2
    assert done.stderr == f"psiflow: no command '{typed}'\n  hint: did you mean '{meant}'?\n"


def test_a_swapped_letter_is_nearer_than_another_one() -> None:
    assert errors.nearest("SFC", ["SIC", "SCF", "XC"]) == "did you mean 'SCF'?"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (("--temprature", "300"), "--temperature"),
        (("--step", "300"), "--steps"),
        (("--thermostat", "langvin"), "langevin"),
        (("--cell", "flexble"), "flexible"),
    ],
)
def test_a_mistyped_option_or_word_is_told_the_nearest(typed: tuple[str, ...], meant: str) -> None:
    done = CliRunner().invoke(main, ["sample", "in.xyz", *typed])
    assert done.exit_code == 2
    assert f"hint: did you mean '{meant}'?" in done.stderr


@pytest.mark.parametrize(
    ("redirection", "status", "label", "wrong"),
    [
        ("2>&-", 0, 0, 2),
        ("2>/dev/full", 0, 0, 2),
        (">&-", errors.IO_ERROR, 0, 2),
        (">/dev/full", errors.IO_ERROR, 0, 2),
        ("<&- >&- 2>&-", errors.IO_ERROR, 0, 2),
    ],
)
def test_streams_that_are_closed_or_full(tmp_path: Path, redirection: str, status: int, label: int, wrong: int) -> None:
    """What is said on stderr may be lost; results on stdout may not."""
    (tmp_path / "in.xyz").write_text(copper(1))
    words = "--reference emt --site ./threads.toml -o out.xyz"
    (tmp_path / "threads.toml").write_text(SITE.format(executor="threads", resources="", more=""))
    for command, code in (("status", status), (f"label in.xyz {words}", label), ("no-such-command", wrong)):
        done = subprocess.run(
            ["sh", "-c", f"{PSIFLOW} {command} {redirection}"], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == code, command
        assert "Traceback" not in done.stderr
        assert "ignored" not in done.stderr
    assert (tmp_path / "out.xyz").read_text().count("energy=") == 1


@pytest.mark.parametrize("words", [["label"], ["model", "export"], ["site"], []])
def test_help_is_what_the_command_s_own_help_says(words: list[str]) -> None:
    done = CliRunner().invoke(main, ["help", *words])
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == CliRunner().invoke(main, [*words, "--help"]).stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [(["lable"], "did you mean 'label'?"), (["model", "exprt"], "'export'"), (["label", "x"], "--help")],
)
def test_help_of_nothing_names_the_nearest(words: list[str], said: str) -> None:
    done = CliRunner().invoke(main, ["help", *words])
    assert done.exit_code == 2
    assert said in done.stderr
