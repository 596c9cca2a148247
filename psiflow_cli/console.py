"""What a command says: notes and progress on stderr, and JSON on stdout."""

from __future__ import annotations

import os
import sys
import time
from types import TracebackType

import click


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


def abandon_stdout() -> None:
    """Let nothing that is still to be written there fail once more when Python exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def say(line: str) -> None:
    """A line on stderr; where that cannot be written (a full disk, a reader who has gone), the work goes on without."""
    try:
        click.echo(line, err=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def note(text: str) -> None:
    """One line, unless --quiet."""
    if not Verbosity.quiet:
        say(f"psiflow: {text}")


def detail(text: str) -> None:
    """One line with --verbose."""
    if Verbosity.verbose:
        say(f"psiflow: {text}")


def problem(message: str, hint: str = "") -> None:
    """An error as the contract shows it: what and where, then what to do."""
    say(f"psiflow: {message}")
    if hint:
        say(f"  hint: {hint}")


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
    """A bar on a terminal, a line every 30 s otherwise; `update` is cheap enough to call for every unit."""

    EVERY_S = 30.0

    def __init__(self, total: int, what: str, done: int = 0) -> None:
        self._total, self._what, self._done, self._failed = total, what, done, 0
        self._first = done
        self._start = self._said = time.monotonic()
        self._bar = None
        if sys.stderr.isatty() and not Verbosity.quiet:
            self._bar = click.progressbar(length=total, label=what, file=sys.stderr, show_eta=True, show_pos=True)

    def __enter__(self) -> Progress:
        if self._bar is not None:
            self._bar.__enter__()
            self._bar.update(self._done)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.__exit__(kind, error, trace)

    def update(self, done: int = 1, failed: int = 0) -> None:
        """Count finished units; `failed` of them failed."""
        self._done += done
        self._failed += failed
        if self._bar is not None:
            self._bar.update(done)
        self.tick()

    def tick(self) -> None:
        """Say how far it is, if it is time to."""
        now = time.monotonic()
        if self._bar is not None or now - self._said < self.EVERY_S:
            return
        self._said = now
        rate = (self._done - self._first) / (now - self._start)
        failed = f", {self._failed} failed" if self._failed else ""
        left = f", {(self._total - self._done) / rate:.0f} s left" if rate > 0 else ""
        note(f"{self._what} {self._done}/{self._total}{failed}{left}")
