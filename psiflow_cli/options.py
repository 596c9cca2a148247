"""Kinds of options, each a line where a command has one, and the options that commands share."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, NamedTuple, TypeVar, cast

import click

from psiflow_cli import defaults, formats
from psiflow_cli.console import Verbosity
from psiflow_cli.errors import FAILED_FRAMES, UsageError
from psiflow_cli.values import kinds, quantities


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


Command = defaults.Command
Group = defaults.Group


F = TypeVar("F", bound=Callable[..., object])
Read = Callable[[Any], object]
"""What makes a value of what was typed; raises ValueError, whose text the user sees."""


def _callback(read: Read) -> Callable[[click.Context, click.Parameter, object], object]:
    """`read` as click calls it; an option without a value has none."""

    def callback(_ctx: click.Context, _param: click.Parameter, value: object) -> object:
        try:
            return None if value is None else read(value)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None

    return callback


def _option(
    names: str, default: object, form: str | None, what: str, kind: click.ParamType[Any] | None = None, **more: Any
) -> Callable[[F], F]:
    """An option; its names, and the parameter's if it is another, are one string; a default that it has is shown."""
    shown: dict[str, Any] = {} if default is None else {"default": default, "show_default": True}
    return click.option(*names.split(), type=kind, metavar=form, help=what, **shown, **more)


def flag(names: str, what: str) -> Callable[[F], F]:
    """Given or not."""
    return click.option(*names.split(), is_flag=True, help=what)


def text(names: str, default: str | None, form: str | None, what: str, read: Read | None = None) -> Callable[[F], F]:
    """A word of a certain form, which `read` takes apart."""
    return _option(names, default, form, what, callback=read and _callback(read))


def texts(names: str, form: str, what: str, read: Read | None = None) -> Callable[[F], F]:
    """Words of a certain form; the option may be given more than once."""
    return _option(names, None, form, what, callback=read and _callback(read), multiple=True, cls=defaults.Repeated)


def file(names: str, what: str, form: str = "FILE") -> Callable[[F], F]:
    """The name of a file."""
    return _option(names, None, form, what)


def output(names: str, kind: formats.Kind, what: str, form: str = "FILE") -> Callable[[F], F]:
    """The name of a file of this kind that is to be written."""
    return _option(names, None, form, what, kinds.Output(kind))


def choice(names: str, choices: Sequence[str], default: str | None, what: str, **more: Any) -> Callable[[F], F]:
    """One of a few words."""
    return _option(names, default, None, what, kinds.Word(choices), **more)


def name(names: str, form: str | None, of: kinds.Name, what: str, default: str | None = None) -> Callable[[F], F]:
    """The name of a back end, or the user's own file."""
    return _option(names, default, form, f"One of: {', '.join(of.choices)}{what}", of)


def count(names: str, default: int | None, what: str, least: int = 1, form: str | None = None) -> Callable[[F], F]:
    """A whole number of at least so many."""
    return _option(names, default, form, what, kinds.Whole(least))


def steps(names: str, default: int | None, what: str) -> Callable[[F], F]:
    """A number of steps, or a time in steps of --timestep, of a command that has one."""
    return _option(names, default, "STEPS|TIME", what, kinds.Steps(1))


def number(
    names: str, default: float | None, unit: str | None, what: str,
    above: float | None = None, least: float | None = None, most: float | None = None, **more: Any,
) -> Callable[[F], F]:  # fmt: skip
    """A finite number in a unit: above one number, or at least one, and at most another."""
    kind = kinds.Finite(least if above is None else above, most, above is not None, unit)
    return _option(names, default, unit, what, kind, **more)


def together(*options: Callable[[F], F]) -> Callable[[F], F]:
    """Several options as one decorator, in this order."""

    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def _deadline(_ctx: click.Context, _param: click.Parameter, value: str | None) -> float | None:
    from psiflow_cli.runtime.stop.signals import slurm_deadline

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


talk = together(
    click.option("-q", "--quiet", is_flag=True, expose_value=False, callback=_say, help="Print only errors."),
    click.option(
        "-v",
        "--verbose",
        count=True,
        expose_value=False,
        callback=_say,
        help="Print more, including the paths of logs.",
    ),
    click.option("--debug", is_flag=True, expose_value=False, is_eager=True, callback=_say, help="Print tracebacks."),
)
"""-q, -v and --debug."""

_common = together(
    click.option(
        "--site", metavar="NAME|FILE", envvar="PSIFLOW_SITE", default="local", show_default=True,
        help="Site file: where and how tasks run.",
    ),
    file("--run-dir", "Run directory [default: OUTPUT.run].", "DIR"),
    flag("--overwrite", "Replace an output that psiflow did not write."),
    click.option(
        "--deadline", metavar="DURATION|TIME", callback=_deadline,
        help="Stop cleanly at this time, with exit code 75 [default: the end of the SLURM job, if any].",
    ),
    flag("--dry-run", "Show what would be done without doing it."),
    flag("--json", "Print a JSON summary to stdout."),
    talk,
)  # fmt: skip


def common_in_place(function: Callable[..., object]) -> Callable[..., object]:
    """The options of a stage whose result has its place, handed to the command as one `common`."""

    @wraps(function)
    def command(**options: object) -> object:
        common = Common._make(options.pop(name, None) for name in Common._fields)
        if options.get("model", True):  # without its model, a command that may have one needs no site
            from psiflow_cli.remote import there

            there.perform(click.get_current_context(), common.site, common.deadline)
        return function(common=common, **options)

    return _common(command)


def common(kind: formats.Kind) -> Callable[[Callable[..., object]], Callable[..., object]]:
    """The options of a stage whose result is a file of this kind, handed to the command as one `common`."""
    return together(output("-o --output", kind, "Output file [default: named after the input]."), common_in_place)


frames = click.argument("frames", nargs=-1, required=True, metavar="FRAMES...")
"""One or more inputs; `-` is stdin."""
runs = click.argument("runs", nargs=-1, metavar="[RUN]...", type=click.Path())


def _pairs(values: tuple[str, ...]) -> dict[str, str]:
    """The last value of each key; a key without a value removes what was given before."""
    pairs = {}
    for value in values:
        key, equals, text = value.partition("=")
        if not equals or not key.strip():
            raise ValueError(f"{value!r} is not KEY=VALUE")
        pairs[key.strip()] = text.strip()
    return {key: text for key, text in pairs.items() if text}


settings = _option(
    "--set settings", None, "KEY=VALUE", 
    "Setting of the code or trainer, by its own name; KEY= removes that of psiflow.toml. May be repeated.",
    callback=_callback(_pairs), multiple=True, cls=defaults.Settings,
)  # fmt: skip
seed = count("--seed", 0, "Random seed.", least=0)
model = file("--model", "Model bundle, or Python file with an ASE calculator; see psiflow-files(7).", "BUNDLE|FILE")
failed = output(
    "--failed", formats.FRAMES_IN_FILE, "File for failed frames [default: OUTPUT with .failed before the suffix]."
)
keys = text(
    "--keys",
    None,
    "NAME=KEY,...",
    "Keys of the labels, such as energy=REF_energy, forces=REF_forces (also stress, virial), joined by commas.",
)


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


def _limit(value: object) -> Limit:
    """`0.05` or `5%` (a share), `3` (a number)."""
    text = str(value).strip()
    if text.isdigit():
        return Limit(int(text), False)
    try:
        share = quantities.share(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise ValueError(f"{text!r} is neither a fraction such as 0.05 or 5% nor a whole number")
    return Limit(share, True)


max_failed = text("--max-failed", "0", "SHARE|NUMBER", "Failures allowed before the exit code is 1.", _limit)


def required(value: str | None, option: str) -> str:
    """The value of an option that a defaults file may give, too. Raises UsageError, which lists the choices."""
    if value:
        return value
    context = click.get_current_context()
    known = kinds.choices(next(param for param in context.command.params if option in param.opts))
    which = f"one of {', '.join(known)}; " if known else ""
    raise UsageError(f"missing option {option}", f"{which}give it, or put it into ./{defaults.PROJECT_FILE}")
