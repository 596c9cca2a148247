"""Default values of options: those of the site file's [defaults], and over them those of ./psiflow.toml.

[sample.round-3] of psiflow.toml wins over its [sample] in round 3 of a loop, which $PSIFLOW_ROUND names.

Options that may be repeated are joined: the site's values, those of psiflow.toml, those of the command line.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import click
from click.core import ParameterSource

from psiflow_cli.errors import BadConfig, PsiflowError, UsageError, nearest
from psiflow_cli.values import help_sections, kinds, quantities

PROJECT_FILE = "psiflow.toml"
ROUND = "PSIFLOW_ROUND"
ARGUMENTS = "psiflow.arguments"
"""Where a click context has the arguments of its command as they were typed."""


class Repeated(click.Option):
    """An option that may be given more than once; values of the defaults files come first."""

    def consume_value(self, ctx: click.Context, opts: Mapping[str, click.Parameter]) -> tuple[object, ParameterSource]:
        """See click."""
        value, source = super().consume_value(ctx, opts)
        if isinstance(value, (list, tuple)) and source is not ParameterSource.DEFAULT_MAP:
            value = joined((ctx.default_map or {}).get(str(self.name), ()), value)
        return value, source


class Settings(Repeated):
    """A repeated option of the form KEY=VALUE, for which a defaults file may have a table."""


def joined(earlier: Sequence[object], later: Sequence[object]) -> list[object]:
    """Values of a repeated option from two places; an empty one removes all before it."""
    values = [*(value for value in earlier if value not in later), *later]
    return values[len(values) - values[::-1].index("") if "" in values else 0 :]


class Command(help_sections.Sectioned):
    """A command whose options take defaults from ./psiflow.toml and, if it has a site, from the site file."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: object
    ) -> click.Context:
        args = quantities.with_units(args)
        arguments = list(args)  # click takes them out of the list as it reads them
        if parent and not {"-h", "--help"} & set(args) and not extra.get("resilient_parsing"):
            names = [*_names(parent), str(self.name)]
            extra["default_map"] = read(self, args, names, cast("click.Group", parent.find_root().command))
        try:
            context = super().make_context(info_name, args, parent, **extra)
        except click.BadParameter as error:
            raise (blamed(error, error.ctx, _site_named(arguments)) if error.ctx else error) from None
        context.meta[ARGUMENTS] = arguments
        return context

    def invoke(self, ctx: click.Context) -> object:
        """Run it; a wrong setting that a defaults file gives is an error of that file."""
        try:
            return super().invoke(ctx)
        except (UsageError, click.BadParameter) as error:
            raise blamed(error, ctx, ctx.params.get("site")) from None


class Group(click.Group):
    """A command of commands."""

    command_class = Command


def read(command: click.Command, args: Sequence[str], names: Sequence[str], root: click.Group) -> dict[str, object]:
    """The values by parameter; `names` lead from the root to the command, as in `model`, `export`. Raises BadConfig."""
    values: dict[str, object] = {}
    try:
        for table, place in _tables(command, names, root, _site_named(args)):
            for key, value in _by_parameter(command, table, place, ["psiflow", *names]).items():
                earlier = cast("list[object]", values.get(key, []))
                values[key] = joined(earlier, value) if isinstance(value, list) else value
    except BadConfig as error:
        from psiflow_cli import toml

        raise BadConfig(toml.with_line(error.message), error.hint) from None
    return values


def blamed(
    error: UsageError | click.BadParameter, context: click.Context, site: str | None
) -> PsiflowError | click.BadParameter:
    """The error, or BadConfig if it is about values that a defaults file gives and not about one that was typed."""
    from psiflow_cli import toml

    named = [param for param in context.command.params if _is_about(error, param)]
    typed = [param for param in named if context.get_parameter_source(str(param.name)) is ParameterSource.COMMANDLINE]
    root, options = cast("click.Group", context.find_root().command), _options(context.command)
    for table, place in reversed([*_tables(context.command, _names(context), root, site)]):
        for key, value in table.items():
            param = options.get(key)
            if isinstance(param, Settings):
                decides = _is_about_settings(error, context.params.get(str(param.name)), _texts(param, value, place))
            else:
                decides = param in named and param not in typed
            if decides and typed and isinstance(error, UsageError):
                return UsageError(error.message, f"{place} {key} is {value!r}; {error.hint}".strip("; "))
            if decides:
                hint = error.hint if isinstance(error, UsageError) else f"{context.command_path} --help"
                return BadConfig(toml.with_line(f"{place} {key}: {error.message}"), hint)
    return error


def _is_about(error: UsageError | click.BadParameter, param: click.Parameter) -> bool:
    if isinstance(error, click.BadParameter):
        return error.param is param
    text = f"{error.message} {error.hint}" if error.hint.startswith("leave out -") else error.message
    return any(re.search(rf"(?<![\w-]){name}(?![\w-])", text) for name in param.opts if name[0] == "-")


def _is_about_settings(error: UsageError | click.BadParameter, effective: object, texts: Sequence[str]) -> bool:
    """Is it about a KEY of these KEY=VALUE, which no other place has set to something else?"""
    pairs = effective.items() if isinstance(effective, dict) else ()
    keys = [key for key, text in pairs if f"{key}={text}" in texts]
    return any(re.search(rf"(?<![\w.]){re.escape(key)}(?![\w.])", error.message) for key in keys)


def _names(context: click.Context) -> list[str]:
    """The names that lead from the root to a command."""
    return [*_names(context.parent), str(context.info_name)] if context.parent else []


def _tables(
    command: click.Command, names: Sequence[str], root: click.Group, site: str | None
) -> Iterator[tuple[Mapping[str, object], str]]:
    """What defaults files say of a command, the last to win last, each with its place in words. Raises BadConfig."""
    table, place = _table(_project(), names, root, f"{PROJECT_FILE}: [")
    own, rounds = _by_round(table)
    for key, values in rounds.items():
        _by_parameter(command, values, f"{place[:-1]}.{key}]", ["psiflow", *names])
    now = f"round-{_round()}"
    project = {**own, **(of_round := dict(rounds.get(now, {})))}
    if any(param.name == "site" for param in command.params):
        name = site or project.get("site") or "local"
        from psiflow_cli.site import load

        try:
            if not isinstance(name, str):
                raise BadConfig("must be the name of a site, or a file", "see the known ones with psiflow site list")
            path = load.find(name)
        except BadConfig as error:
            if site or "site" not in project:
                raise
            raise BadConfig(f"{place} site: {error.message}", error.hint) from None
        yield _table(load.parse(path).defaults, names, root, f"{path}: [defaults.")
        own = {**own, "site": name}
        of_round.pop("site", None)
    yield own, place
    yield of_round, f"{place[:-1]}.{now}]"


def _round() -> str:
    """The number of the round that a recipe is in, or nothing. Raises BadConfig."""
    text = os.environ.get(ROUND, "")
    if not re.fullmatch("[0-9]*", text):
        raise BadConfig(f"${ROUND}={text}: must be a whole number", "unset it; the recipes set it")
    return text


def _by_round(table: Mapping[str, object]) -> tuple[dict[str, object], dict[str, Mapping[str, object]]]:
    """The values that hold in every round, and the tables of single rounds by their keys."""
    rounds = {k: v for k, v in table.items() if isinstance(v, dict) and re.fullmatch("round-(0|[1-9][0-9]*)", k)}
    return {key: value for key, value in table.items() if key not in rounds}, dict(rounds)


def _project() -> dict[str, object]:
    """The tables of ./psiflow.toml, if there is such a file."""
    if not os.path.isfile(PROJECT_FILE):
        return {}
    from psiflow_cli import toml

    return toml.load(PROJECT_FILE, BadConfig)


def _table(
    tables: Mapping[str, object], names: Sequence[str], root: click.Group, place: str
) -> tuple[Mapping[str, object], str]:
    """The table of a command, and its place in words. Raises BadConfig for tables that no command has."""
    group: click.Command = root
    for name in names:
        commands = list(group.commands) if isinstance(group, click.Group) else []
        for key in tables:
            if key not in commands and not isinstance(tables[key], dict):
                problem = f"{place.replace('[', '', 1)}{key}: is in no command's table"
                raise BadConfig(problem, f"write it below a line such as [{'.'.join(names)}]")
            if key not in commands:
                raise BadConfig(f"{place}{key}]: no such command", nearest(key, commands))
        table = tables.get(name, {})
        if not isinstance(table, dict):
            raise BadConfig(f"{place.replace('[', '', 1)}{name}: must be a table, [{name}]")
        group, tables, place = cast("click.Group", group).commands[name], table, f"{place}{name}."
    return tables, f"{place[:-1]}]"


def _options(command: click.Command) -> dict[str, click.Parameter]:
    """The options of a command by the keys that they have in a table."""
    return {name.lstrip("-"): param for param in command.params for name in param.opts if name.startswith("--")}


def _by_parameter(
    command: click.Command, table: Mapping[str, object], place: str, words: Sequence[str]
) -> dict[str, object]:
    """The table with parameter names for keys. Raises BadConfig for an unknown key and a wrong value."""
    options = _options(command)
    values: dict[str, object] = {}
    for key, value in table.items():
        if key not in options:
            raise BadConfig(f"{place} {key}: unknown option", nearest(key, list(options)))
        try:
            values[str(options[key].name)] = _checked(command, options[key], value, f"{place} {key}")
        except (click.ClickException, UsageError) as error:
            advice = error.hint if isinstance(error, UsageError) else kinds.advice(options[key], value)
            raise BadConfig(f"{place} {key}: {error.message}", advice or f"{' '.join(words)} --help") from None
    return values


def _checked(command: click.Command, option: click.Parameter, value: object, place: str) -> object:
    """A value of a defaults file as the option takes it, which is a list where the option may be repeated.

    Raises BadConfig, UsageError and click's errors.
    """
    is_flag, counts = (getattr(option, name, False) for name in ("is_flag", "count"))
    if isinstance(option, Repeated):
        value = _texts(option, value, place)
    elif isinstance(value, (list, dict)) and "," in str(option.metavar):
        pairs = [f"{key}={each}" for key, each in value.items()] if isinstance(value, dict) else value
        value = ",".join(map(str, pairs))
    elif isinstance(value, (list, dict)):
        raise BadConfig(f"{place}: takes one value", "this option cannot be repeated")
    elif isinstance(value, bool) and not (is_flag or counts):
        raise BadConfig(f"{place}: takes a value, not true or false", f"psiflow {command.name} --help")
    elif not isinstance(value, bool):
        value = str(value)  # as it is typed: a number may be the name of a file, and a date is what was written
    context = click.Context(command, info_name=command.name)
    # the callback of -q, -v and --debug would act on it at once
    check = option.process_value if option.expose_value else option.type_cast_value
    check(context, joined((), value) if isinstance(value, list) else value)
    return value


def _texts(option: click.Parameter, value: object, place: str) -> list[str]:
    """The values of a repeated option. Raises BadConfig."""
    if isinstance(option, Settings) and isinstance(value, dict):
        return [f"{key}={text}" for key, text in _flat(value)]
    values = value if isinstance(value, list) else [value]
    if any(isinstance(each, (list, dict, bool)) for each in values):
        raise BadConfig(f"{place}: must be a list of texts", f'as in {place.split()[-1]} = ["…", "…"]')
    return [str(each) for each in values]


def _flat(table: Mapping[str, object], above: str = "") -> Iterator[tuple[str, str]]:
    """The values of nested tables as text, each with its path: `model.r_max`, `5.0`."""
    from psiflow_cli import toml

    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value if isinstance(value, str) else toml.value(value)


def _site_named(args: Sequence[str]) -> str | None:
    """The site of a command line, or of the environment."""
    for arg, following in itertools.pairwise([*args, ""]):
        name, equals, value = arg.partition("=")
        if name == "--site":
            return value if equals else following
    return os.environ.get("PSIFLOW_SITE")
