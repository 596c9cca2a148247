"""Kinds of options: words, names of back ends, whole numbers, numbers with a unit, steps, and files to write."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from psiflow_cli import formats
from psiflow_cli.errors import UsageError, nearest
from psiflow_cli.values import quantities

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


def _plain(word: str) -> str:
    return word.strip().casefold().replace("_", "-")


class UnknownWord(click.BadParameter):
    """A word that an option does not take, with the nearest that it takes."""

    def __init__(
        self, message: str, hint: str, ctx: click.Context | None = None, param: click.Parameter | None = None
    ) -> None:
        super().__init__(message, ctx, param)
        self.hint = hint if hint.startswith("did you mean") else ""


class Word(click.Choice[str]):
    """One of a few words; capitals, and whether it is `-` or `_`, do not matter."""

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        word = str(value)
        alike = [choice for choice in self.choices if _plain(choice) == _plain(word)]
        if alike:
            return alike[0]
        problem = f"{word!r} is not one of {', '.join(map(repr, self.choices))}."
        raise UnknownWord(problem, nearest(_plain(word), list(self.choices)), ctx, param)


def choices(param: click.Parameter | None) -> list[str]:
    """The words that an option takes, if they are known."""
    return list(getattr(param.type, "choices", ())) if param else []


def advice(param: click.Parameter | None, value: object) -> str:
    """A hint for a word that an option does not take, or ""."""
    known = choices(param)
    return nearest(_plain(str(value)), known) if known else ""


class Name(click.types.StringParamType):
    """The name of a back end, in capitals or not, or (`or_file`) a file or folder of the user's.

    `others` cannot be chosen here; `why` says so, with {} for the name.
    """

    def __init__(
        self, what: str, choices: Sequence[str], or_file: bool = True, others: Sequence[str] = (), why: str = ""
    ) -> None:
        self.what, self.choices, self.or_file, self.others, self.why = what, choices, or_file, others, why

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        word = str(value)
        if word in self.choices or (self.or_file and os.path.exists(word)):
            return word
        for choice in self.choices:
            if _plain(choice) == _plain(word):
                return choice
        if self.or_file and (os.sep in word or os.path.splitext(word)[1]):
            return word  # who reads it says that it is not there
        if _plain(word) in map(_plain, self.others):
            raise UsageError(self.why.format(word), f"one of: {', '.join(self.choices)}")
        raise UsageError(f"unknown {self.what} {word!r}", nearest(_plain(word), list(self.choices)))

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The names that begin so."""
        from click.shell_completion import CompletionItem

        return [CompletionItem(choice) for choice in self.choices if choice.startswith(incomplete)]


def _range(least: float | None, most: float | None, above: bool) -> str:
    """The range of a number in words, or ""."""
    begin = "" if least is None else f"{'above' if above else 'at least'} {least:g}"
    return " and ".join(filter(None, (begin, "" if most is None else f"at most {most:g}")))


def _shown(least: float | None, most: float | None, above: bool) -> str:
    """The range as help shows it: that a count or a length is positive goes without saying."""
    return _range(None if least in (0, 1) else least, most, above).replace(" and ", ", ")


def _check_range(
    kind: click.IntRange | click.FloatRange, value: float, param: click.Parameter | None, text: object
) -> None:
    """Raise click.BadParameter for a number outside the range of its kind."""
    low = kind.min is not None and (value <= kind.min if kind.min_open else value < kind.min)
    if low or (kind.max is not None and value > kind.max):
        unit = getattr(kind, "unit", None) or ""
        allowed = _range(kind.min, kind.max, kind.min_open) + (f" {unit}" if unit not in ("", "SHARE") else "")
        kind.fail(f"must be {allowed}, not {text}", param)


class Whole(click.IntRange):
    """A whole number in a range, as in `10000` or `1e4`."""

    name = "N"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            number = self.number(value, ctx)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        _check_range(self, number, param, value)
        return number

    def number(self, value: object, _ctx: click.Context | None) -> int:
        """Raises ValueError."""
        return quantities.whole(value)

    def _describe_range(self) -> str:
        return _shown(self.min, self.max, self.min_open)


class Steps(Whole):
    """A number of steps, or a time such as `1 ps` in steps of the command's --timestep (which is eager)."""

    def number(self, value: object, ctx: click.Context | None) -> int:
        """Raises ValueError."""
        # what a defaults file says is looked at before there is a timestep
        return quantities.steps(value, ctx.params.get("timestep") if ctx else None)


class Finite(click.FloatRange):
    """A number in a range, in the unit `unit` unless another one stands behind it; click lets nan and infinity pass."""

    def __init__(
        self, least: float | None = None, most: float | None = None, above: bool = False, unit: str | None = None
    ) -> None:
        super().__init__(least, most, min_open=above)
        self.unit = unit if unit in quantities.TABLES else None

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            number = quantities.number(value, self.unit)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        _check_range(self, number, param, value)
        return number

    def _describe_range(self) -> str:
        return _shown(self.min, self.max, self.min_open)


class Output(click.ParamType[str]):
    """The name of a file to write: its suffix is a promise, which is checked before anything runs."""

    name = "output"

    def __init__(self, kind: formats.Kind) -> None:
        self.kind = kind

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if complaint := self.kind.complaint(value):
            hint = "give a file" if value == "-" else self.kind.hint
            raise UsageError(f"{param.opts[-1] if param else ''} {complaint}".strip(), hint)
        return value

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Any file."""
        from click.shell_completion import CompletionItem

        return [CompletionItem(incomplete, type="file")]
