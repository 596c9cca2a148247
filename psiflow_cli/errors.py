"""Every error a user can see: one message, one hint, one exit code."""

from __future__ import annotations

from typing import NamedTuple

# Exit codes follow sysexits.h where it has one; see the EXIT STATUS section of psiflow(1).
FAILED_FRAMES = 1
USAGE = 2
BAD_DATA = 65
NO_INPUT = 66
NO_RESOURCES = 69
BUG = 70
CANNOT_CREATE = 73
IO_ERROR = 74
STOPPED = 75
BAD_CONFIG = 78
INTERRUPTED = 130


class PsiflowError(Exception):
    """An error with a cause a user can fix; `main` prints it and exits with `exit_code`."""

    exit_code = BUG

    def __init__(self, message: str, hint: str = "", exit_code: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if exit_code is not None:
            self.exit_code = exit_code


class UsageError(PsiflowError):  # the options contradict each other or miss something
    exit_code = USAGE


class Refusal(NamedTuple):
    """A setting that is refused."""

    key: str  # the setting, with dots where it is inside of tables
    problem: str
    hint: str = ""


class BadSettings(UsageError):
    """Settings of a program that psiflow runs, all that are refused at once."""

    def __init__(self, refusals: list[Refusal]) -> None:
        self.refusals = refusals
        if len(refusals) == 1:
            super().__init__(refusals[0].problem, refusals[0].hint)
            return
        texts = [f"{each.problem} ({each.hint})" if each.hint else each.problem for each in refusals]
        super().__init__("; ".join(texts), f"{len(refusals)} settings were rejected")


class BadData(PsiflowError):  # a file's contents are wrong; the message starts with `file:line: `
    exit_code = BAD_DATA


class NoInput(PsiflowError):  # an input is missing or unreadable
    exit_code = NO_INPUT


class NoResources(PsiflowError):  # no worker came, or too many were lost
    exit_code = NO_RESOURCES


class CannotCreate(PsiflowError):  # an output cannot be made, or making it would destroy something
    exit_code = CANNOT_CREATE


class Stopped(PsiflowError):  # stopped before the end, or another run holds the output: run the same command again
    exit_code = STOPPED


class BadConfig(PsiflowError):  # a site file or a configuration is wrong: `file: [table] key: what`
    exit_code = BAD_CONFIG


def nearest(name: str, known: list[str] | tuple[str, ...]) -> str:
    """A hint that names the known names nearest to `name`, or all of them."""
    import difflib

    close = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    if close:
        # of equally near ones, that with the same letters: SFC is SCF rather than SIC
        same_letters = [each for each in close if sorted(each) == sorted(name)]
        return f"did you mean {(same_letters or close)[0]!r}?"
    return "known: " + ", ".join(sorted(known))


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """A number and what it counts: `1 frame`, `2 frames`. `plural` is for nouns that do not only add an s."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"
