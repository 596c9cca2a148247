"""What a person sees on stderr: the progress line on terminals of any width, and what is told in between."""

from __future__ import annotations

import sys

import click
import pytest

from psiflow_cli import console
from psiflow_cli.console import Progress
from tests.commands.terminal import Terminal

DETAILS = ["E 12.3 meV/atom", "F 145 meV/Å", "stage one", "loss 0.0123", "validation loss 0.0456", "lr 0.01"]


class Clock:
    """Time that stands still unless it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(console, "time", clock)
    return clock


def training(clock: Clock) -> Progress:
    """Thirty epochs of 200, after a long wait; a thousand of such epochs take an hour."""
    progress = Progress(200, "epoch")
    clock.now += 500
    progress.start()
    for _ in range(30):
        clock.now += 3.6
        progress.update()
    progress.details = DETAILS
    return progress


@pytest.mark.parametrize("width", range(20, 201, 4))
def test_a_line_fits_the_terminal_and_the_least_important_parts_go_first(clock: Clock, width: int) -> None:
    parts = ["epoch 30/200", "10.2 min left", *DETAILS]
    line = training(clock).line(width)
    assert len(line) <= width
    told = line.partition(" [")[0].split(", ")
    assert told == parts[: len(told)]
    if len(told) < len(parts):
        assert len(line) + 2 + len(parts[len(told)]) > width, "there is room for one more"
    if width >= 60:
        assert "meV/atom" in line
        assert "meV/Å" in line


def test_time_left_is_told_once_something_was_done(clock: Clock) -> None:
    progress = Progress(4, "frames")
    clock.now += 10
    assert progress.line(15) == "frames 0/4"
    assert progress.line(25) == "frames 0/4 [------------]"
    progress.update()
    assert "left" not in progress.line(30), "how long it took, and how long it waited, nobody knows"
    progress = Progress(4, "frames")
    clock.now += 1000
    progress.update(seconds=5)
    assert progress.line(30) == "frames 1/4, 15 s left"
    progress.is_waiting = True
    assert "left" not in progress.line(30), "in the queue again"


def test_a_wait_before_the_first_of_two_does_not_count(clock: Clock) -> None:
    progress = Progress(4, "frames")
    for seconds in (1000, 5):
        clock.now += seconds
        progress.update()
    assert progress.line(30) == "frames 2/4, 10 s left"
    clock.now += 4
    assert "6 s left" in progress.line(30)
    clock.now += 7
    assert "left" not in progress.line(30), "it takes longer than expected"
    progress.update(2, failed=1)
    assert progress.line(30) == "frames 4/4, 1 failed"


def test_a_pipe_gets_a_line_every_thirty_seconds_with_all_there_is(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with Progress(4, "frames") as progress:
        progress.details = DETAILS
        for _ in range(4):
            clock.now += 20
            progress.update()
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("psiflow: frames 2/4, ")
    assert first.endswith(", ".join(DETAILS))
    assert second.startswith("psiflow: frames 4/4, ")


PROGRAM = """
import sys, time
from psiflow_cli.console import Progress, note
with Progress(3, "frames") as progress:
    for number in range(3):
        progress.details = ["a detail " * 9]
        progress.update()
        note(f"note {number}")
        time.sleep(0.15)
        progress.tick()
"""


def test_notes_and_the_line_do_not_run_into_each_other() -> None:
    """As a terminal would show it: what is after the last carriage return or erasure of each line."""
    terminal = Terminal("-c", PROGRAM, program=sys.executable, columns=60)
    code, text = terminal.end()
    assert code == 0
    lines = text.replace("\x1b[K", "").split("\n")
    drawn = [line.split("\r")[-1] for line in lines]
    assert drawn[:3] == ["psiflow: note 0", "psiflow: note 1", "psiflow: note 2"]
    assert drawn[3].startswith("frames 3/3")
    assert max(len(part) for line in lines for part in line.split("\r")) < 60


WIDE = """\
             frames         T (K)         E (eV)      P (GPa)
walker 1        100   300.1±2.3   -432.12±0.05   0.12±0.03
walker 2        100   300.1±2.3   -432.12±0.05      0.12±?
±?: what it means"""


def test_a_table_is_in_parts_where_it_is_too_wide() -> None:
    assert console.in_width(WIDE, None) == console.in_width(WIDE, 80) == WIDE
    narrow = console.in_width(WIDE, 40).splitlines()
    assert max(map(len, narrow)) <= 40
    second = [line.split()[2:] for line in narrow if line.startswith("walker 2")]
    assert second == [["100", "300.1±2.3"], ["-432.12±0.05", "0.12±?"]]
    assert narrow[-1] == "±?: what it means"


@pytest.mark.parametrize(("told", "columns"), [("60", 60), ("200", 80), ("", 80), ("wide", 80)])
def test_the_width_is_that_of_the_terminal_and_no_more_than_columns(
    monkeypatch: pytest.MonkeyPatch, told: str, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", told)
    monkeypatch.setattr(console.os, "get_terminal_size", lambda _: console.os.terminal_size((80, 24)))
    assert console.columns(sys.__stderr__ or sys.stderr) == columns
    monkeypatch.setattr(console.os, "get_terminal_size", lambda _: console.os.terminal_size((0, 0)))
    assert console.columns(sys.__stderr__ or sys.stderr) == (int(told) if told.isdecimal() else 80)


@pytest.mark.parametrize("columns", ["", "x", "40", "77", "300"])
def test_help_is_as_wide_as_click_has_it(columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The width is worked out without shutil, which click would import for it."""
    monkeypatch.setenv("COLUMNS", columns)
    assert console.help_width(100) == click.HelpFormatter(max_width=100).width
