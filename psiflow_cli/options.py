"""Options that commands share."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping
from functools import wraps
from typing import NamedTuple, cast

import click

from psiflow_cli.console import Verbosity
from psiflow_cli.errors import FAILED_FRAMES, UsageError


class Common(NamedTuple):
    """The options every stage has."""

    output: str | None
    site: str
    run_dir: str | None
    overwrite: bool
    deadline: float | None
    """Seconds since the epoch."""
    dry_run: bool
    json: bool


class StageCommand(click.Command):
    """A command whose options take defaults from ./psiflow.toml and from the site."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: object
    ) -> click.Context:
        if not {"-h", "--help"} & set(args):
            from psiflow_cli import defaults

            group = parent.find_root().command if parent else self
            commands = list(group.commands) if isinstance(group, click.Group) else [str(self.name)]
            extra["default_map"] = defaults.of(self, args, commands)
        return super().make_context(info_name, args, parent, **extra)


def _deadline(_ctx: click.Context, _param: click.Parameter, value: str | None) -> float | None:
    from psiflow_cli.runtime.signals import slurm_deadline

    if value is None:
        return slurm_deadline()
    from psiflow_cli import duration

    try:
        return float(duration.parse_deadline(value, time.time()))
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _say(_ctx: click.Context, param: click.Parameter, value: bool | int) -> None:
    if value:
        setattr(Verbosity, str(param.name), value)


def talk(function: Callable[..., object]) -> Callable[..., object]:
    """-q, -v and --debug."""
    for option in (
        click.option(
            "--debug", is_flag=True, expose_value=False, is_eager=True, callback=_say, help="Show tracebacks."
        ),
        click.option("-v", "--verbose", count=True, expose_value=False, callback=_say, help="Say more."),
        click.option("-q", "--quiet", is_flag=True, expose_value=False, callback=_say, help="Only errors on stderr."),
    ):
        function = option(function)
    return function


def common_in_place(function: Callable[..., object]) -> Callable[..., object]:
    """The options of a stage whose result has its place, handed to the command as one `common`."""

    @wraps(function)
    def command(**options: object) -> object:
        common = Common._make(options.pop(name, None) for name in Common._fields)
        return function(common=common, **options)

    decorated: Callable[..., object] = talk(command)
    for option in (
        click.option("--json", is_flag=True, help="One JSON object on stdout about what happened."),
        click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing."),
        click.option(
            "--deadline", callback=_deadline, metavar="DURATION|TIME",
            help="Stop in order by then, with exit code 75 [default: the end of the SLURM job, if any].",
        ),
        click.option("--overwrite", is_flag=True, help="Replace an output that psiflow did not write."),
        click.option("--run-dir", metavar="DIR", help="Where the run is kept [default: OUTPUT.run]."),
        click.option(
            "--site", metavar="NAME|FILE", envvar="PSIFLOW_SITE", default="local", show_default=True,
            help="Where and how to run.",
        ),
    ):  # fmt: skip
        decorated = option(decorated)
    return decorated


def common(function: Callable[..., object]) -> Callable[..., object]:
    """The options of a stage, handed to the command as one `common`."""
    text = "Where the result goes [default: named after the input]."
    return click.option("-o", "--output", metavar="FILE", help=text)(common_in_place(function))


def frames(function: Callable[..., object]) -> Callable[..., object]:
    """One or more inputs; `-` is stdin."""
    return click.argument("frames", nargs=-1, required=True, metavar="FRAMES...")(function)


def settings(function: Callable[..., object]) -> Callable[..., object]:
    """--set key=value, as often as needed."""
    return click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="KEY=VALUE",
        callback=_pairs,
        help="A single setting, in its own name.",
    )(function)


def _pairs(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for value in values:
        key, equals, text = value.partition("=")
        if not equals or not key.strip():
            raise click.BadParameter(f"{value!r} is not KEY=VALUE")
        pairs[key.strip()] = text.strip()
    return pairs


seed = click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of every random choice.")
model = click.option("--model", metavar="BUNDLE|FILE", help="A model bundle, as `psiflow train` makes.")
keys = click.option(
    "--keys",
    metavar="NAME=KEY,...",
    help="Where the labels are: energy=REF_energy,forces=REF_forces,stress=REF_stress.",
)


class Finite(click.FloatRange):
    """A number in a range; click lets nan and infinity pass."""

    def convert(self, value: float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number

    def _describe_range(self) -> str:
        # click says `x<=None` of a range without ends
        return "" if self.min is None and self.max is None else super()._describe_range()


class Limit(NamedTuple):
    """How many units may fail: a share of all, or a number."""

    value: float
    is_share: bool

    def of(self, total: int) -> int:
        """The number of units out of `total`."""
        return int(self.value * total) if self.is_share else int(self.value)

    def verdict(self, summary: Mapping[str, object]) -> int:
        """The exit code of a stage of which so many failed."""
        total, failed = cast("tuple[int, int]", (summary["total"], summary.get("failed", 0)))
        return FAILED_FRAMES if failed > self.of(total) else 0


def _limit(_ctx: click.Context, _param: click.Parameter, value: object) -> Limit:
    """`0.05` or `5%` (a share), `3` (a number)."""
    text = str(value).strip()
    if text.isdigit():
        return Limit(int(text), False)
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise click.BadParameter(f"{text!r} is neither a share such as 0.05 or 5% nor a whole number")
    return Limit(share, True)


max_failed = click.option(
    "--max-failed", default="0", show_default=True, metavar="SHARE|NUMBER", callback=_limit,
    help="How many may fail before the exit code is 1.",
)  # fmt: skip


def required(value: str | None, option: str) -> str:
    """The value of an option that a defaults file may give, too."""
    if not value:
        from psiflow_cli.defaults import PROJECT_FILE

        raise UsageError(f"missing option {option}", f"give it, or put it into ./{PROJECT_FILE}")
    return value


def beside(frames: tuple[str, ...], word: str, suffix: str = ".xyz") -> str:
    """The default output: named after the first input, `data.xyz` -> `data.labelled.xyz`; `-` for stdin."""
    first = frames[0]
    if first == "-":
        return "-"
    folder, name = os.path.split(first)
    tail = ""
    for packed in (".gz", ".zst"):
        if name.endswith(packed):
            name, tail = name[: -len(packed)], packed
    stem, dot, ending = name.rpartition(".")
    if not stem:
        stem, dot, ending = name, "", ""
    own = dot + ending + tail if ending in ("xyz", "extxyz") and suffix == ".xyz" else suffix
    return os.path.join(folder, ".".join(filter(None, (stem, word))) + own)
