"""What a command says: notes and progress on stderr, and JSON on stdout."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import sys
import time
from collections.abc import Iterator
from types import TracebackType
from typing import TextIO

import click

from psiflow_cli import duration

_TO_THE_END = "\x1b[K"
"""Erases the line from the cursor on."""
_BAR = 30
"""Columns of the bar, at most."""


class Verbosity:
    """How much to say; set once by the options of a command."""

    quiet = False
    verbose = 0
    debug = False


def open_streams() -> None:
    """Stand-ins for streams that the shell has closed (`2>&-`): else the next file to be opened would take their place.

    What is for stderr is lost then; stdout cannot be written, which is an error only where there is something to write.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_WRONLY if name == "stderr" else os.O_RDONLY)  # the lowest number that is free
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


@contextlib.contextmanager
def stdout_on_stderr() -> Iterator[None]:
    """Send what libraries in this process print to stderr: stdout has only the result of a command."""
    sys.stdout.flush()
    stdout = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(stdout, 1)
        os.close(stdout)


def abandon_stdout() -> None:
    """Let nothing that is still to be written there fail once more when Python exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def print_line(line: str) -> None:
    """A line on stderr, in the place of a progress line that a terminal shows."""
    Progress.clear()
    put(f"{line}\n")


def put(text: str) -> None:
    """Write to stderr; where that fails (a full disk, a reader who has gone), the work goes on without."""
    try:
        click.echo(text, err=True, nl=False)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def remark(text: str) -> None:
    """Lines on stderr, unless --quiet."""
    if not Verbosity.quiet:
        print_line(text)


def note(text: str) -> None:
    """One line, unless --quiet."""
    remark(f"psiflow: {text}")


def detail(text: str) -> None:
    """One line with --verbose."""
    if Verbosity.verbose:
        print_line(f"psiflow: {text}")


def problem(message: str, hint: str = "") -> None:
    """An error as the contract shows it: what and where, then what to do."""
    print_line(f"psiflow: {message}")
    if hint:
        print_line(f"  hint: {hint}")


def echo_json(data: object, indent: int | None = None) -> None:
    """JSON on stdout, on one line unless it is indented."""
    import json

    click.echo(json.dumps(data, indent=indent))


def is_coloured() -> bool:
    """Whether stdout takes colours: a terminal that knows them, of a user who has not set NO_COLOR (no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, fg: str | None = None, bold: bool | None = None, dim: bool | None = None) -> str:
    """The text as `click.style` has it, or plain where there are no colours."""
    return click.style(text, fg, bold=bold, dim=dim) if is_coloured() else text


class Progress:
    """How far a command is: a line that is redrawn on a terminal, a line every 30 s elsewhere; cheap for every unit."""

    EVERY_S = 30.0
    REDRAW_S = 0.1
    _shown: Progress | None = None
    """The one whose line is on the terminal."""

    def __init__(self, total: int, what: str, done: int = 0) -> None:
        self._total, self._what, self._done, self._failed = total, what, done, 0
        self.details: list[str] = []
        """More to tell, the most important first: a terminal shows as much as fits."""
        self.is_waiting = False  # for a queue: nobody knows how long
        self._pace = _Pace(done)
        self._drawn = 0.0
        self._last_note = time.monotonic()
        self._on_terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and not Verbosity.quiet

    def __enter__(self) -> Progress:
        self._draw()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._on_terminal:
            self._draw()
            Progress._shown = None
            put("\n")

    def update(self, done: int = 1, failed: int = 0, seconds: float = 0.0) -> None:
        """Count finished units; `failed` of them failed, and all took so long together, if that is known."""
        self._done += done
        self._failed += failed
        self._pace.note(self._done, seconds)
        self.tick()

    def start(self) -> None:
        """The first unit begins now: its time tells how long the others will take."""
        self._pace = _Pace(self._done, time.monotonic())

    def tick(self) -> None:
        """Say how far it is, if it is time to."""
        now = time.monotonic()
        if self._on_terminal and now - self._drawn >= self.REDRAW_S:
            self._draw()
        elif not self._on_terminal and now - self._last_note >= self.EVERY_S:
            self._last_note = now
            note(", ".join(self._parts()))

    def _parts(self) -> list[str]:
        """What there is to tell, the most important first."""
        remaining = None if self.is_waiting else self._pace.left(self._total)
        return [
            f"{self._what} {self._done}/{self._total}",
            *([f"{self._failed} failed"] if self._failed else []),
            *([f"{duration.short(remaining)} left"] if remaining is not None else []),
            *self.details,
        ]

    def _draw(self) -> None:
        """Put the line in the place of the one before; the last column stays free, or some terminals would wrap."""
        if not self._on_terminal:
            return
        self._drawn = time.monotonic()
        Progress._shown = self
        put(f"\r{self.line((columns(sys.stderr) or 80) - 1)}{_TO_THE_END}")

    def line(self, width: int) -> str:
        """What fits into so many columns: the least important parts are left out, and a bar takes what is free."""
        first, *others = self._parts()
        shown, free = [], width - len(first)
        for part in others:
            if (free := free - len(part) - 2) < 0:
                break
            shown.append(part)
        text = ", ".join([first, *shown])[: max(width, 0)]
        size = min(width - len(text) - 3, _BAR)
        if size < _BAR // 3 or not self._total:
            return text
        full = size * min(self._done, self._total) // self._total
        return f"{text} [{'#' * full}{'-' * (size - full)}]"

    @classmethod
    def clear(cls) -> None:
        """Take the line off the terminal, for another to be written; the next tick draws it again."""
        if shown := cls._shown:
            cls._shown = None
            shown._drawn = 0.0
            put(f"\r{_TO_THE_END}")


class _Pace:
    """How fast units finish since the first began; the time before says nothing, since it was a wait for workers."""

    def __init__(self, done: int, begun: float | None = None) -> None:
        self._before = done
        self._begun = begun  # when the first unit began, once that is known
        self._last = (time.monotonic(), done)

    def note(self, done: int, seconds: float) -> None:
        """So many units are done by now; the last ones took so long, 0 if nobody knows."""
        now = time.monotonic()
        if self._begun is None and done > self._before:
            self._begun = now - seconds
            self._before = self._before if seconds else done
        self._last = (now, done)

    def left(self, total: int) -> float | None:
        """Seconds until all are done; None if nobody knows, if it takes longer than expected, and at the end."""
        now, done = self._last
        if self._begun is None or not self._before < done < total or now - self._begun < 0.1:
            return None
        whole = (total - done) * (now - self._begun) / (done - self._before)
        left = whole - (time.monotonic() - now)
        return left if left > 0 else None


def columns(stream: TextIO) -> int | None:
    """The width of the terminal on a stream, None where there is none; where it and $COLUMNS differ, the less of both.

    A terminal may not know its width (`script`, expect), and COLUMNS may be that of the window before.
    """
    try:
        own_width = os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        return None
    exported = os.environ.get("COLUMNS", "")
    return min(filter(None, (own_width, int(exported) if exported.isdecimal() else 0)), default=80)


def help_width(most: int) -> int:
    """The width that click gives to a help of at most so many columns, without shutil, which takes long to import."""
    exported = os.environ.get("COLUMNS", "")
    width = int(exported) if exported.isdecimal() else 0
    with contextlib.suppress(OSError, ValueError):
        if not width and sys.__stdout__:
            width = os.get_terminal_size(sys.__stdout__.fileno()).columns
    return max(min(width or 80, most) - 2, 50)


def in_width(text: str, width: int | None) -> str:
    """The text with its tables in parts, one below the other, where they are wider than the terminal."""
    if width is None or all(len(line) <= width for line in text.splitlines()):
        return text
    parts: list[str] = []
    for is_table, group in itertools.groupby(text.splitlines(), key=lambda line: bool(re.search(r"\s{2}\S", line))):
        lines = list(group)
        parts += _table_in_width(lines, width) if is_table and len(lines) > 1 else lines
    return "\n".join(parts)


def _table_in_width(lines: list[str], width: int) -> list[str]:
    """The columns of a table in parts, each with the first column, which names the rows."""
    longest = max(map(len, lines))
    padded = [line.ljust(longest) for line in lines]
    if longest <= width:
        return lines
    free = "".join(" " if all(line[at] == " " for line in padded) else "x" for at in range(longest))
    ends = [match.end() for match in re.finditer(r"\s*x+", free)]
    name = next((match.start() for match in re.finditer(r"(?<=x)\s{2}", free)), 0)
    cells = list(itertools.pairwise([name, *(end for end in ends if end > name)]))
    parts: list[list[tuple[int, int]]] = [[]]
    for begin, end in cells:
        if parts[-1] and name + end - parts[-1][0][0] > width:
            parts.append([])
        parts[-1].append((begin, end))
    cut = [[(line[:name] + line[part[0][0] : part[-1][1]]).rstrip() for line in padded] for part in parts]
    return "\n\n".join("\n".join(part) for part in cut).splitlines()
