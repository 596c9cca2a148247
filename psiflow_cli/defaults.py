"""Where options that are not on the command line get their values: ./psiflow.toml, then the site file's [defaults]."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence

import click

from psiflow_cli.errors import BadConfig, nearest

PROJECT_FILE = "psiflow.toml"


def of(command: click.Command, args: Sequence[str], commands: Sequence[str]) -> dict[str, object]:
    """The values by parameter; `commands` are those that a table may be named after. Raises BadConfig."""
    project = _of_project(command, commands)
    name = str(_site_named(args) or os.environ.get("PSIFLOW_SITE") or project.get("site") or "local")
    from psiflow_cli.site import load

    path = load.find(name)
    tables = load.parse(path).defaults
    _check_commands(tables, f"{path}: [defaults.", commands)
    site = _by_parameter(command, tables.get(command.name or "", {}), f"{path}: [defaults.{command.name}]")
    return {**site, **project, "site": name}


def _of_project(command: click.Command, commands: Sequence[str]) -> dict[str, object]:
    """This command's table of ./psiflow.toml, if there is such a file."""
    if not os.path.isfile(PROJECT_FILE):
        return {}
    from psiflow_cli import toml

    try:
        with open(PROJECT_FILE, encoding="utf-8") as stream:
            text = stream.read()
        tables = toml.loads(text)
    except UnicodeDecodeError as error:
        raise BadConfig(f"{PROJECT_FILE}: not UTF-8 text (byte {error.start})", "save it as UTF-8") from None
    except toml.TOMLDecodeError as error:
        raise BadConfig(*toml.explain(PROJECT_FILE, text, error)) from None
    _check_commands(tables, f"{PROJECT_FILE}: [", commands)
    table = tables.get(command.name or "", {})
    if not isinstance(table, dict):
        raise BadConfig(f"{PROJECT_FILE}: {command.name}: must be a table, [{command.name}]")
    return _by_parameter(command, table, f"{PROJECT_FILE}: [{command.name}]")


def _by_parameter(command: click.Command, table: Mapping[str, object], place: str) -> dict[str, object]:
    """The table with parameter names for keys; an unknown key is an error."""
    names = {o.lstrip("-"): p.name for p in command.params for o in p.opts if o.startswith("--")}
    for key in table:
        if key not in names:
            raise BadConfig(f"{place} {key}: unknown option", nearest(key, list(names)))
    return {name: value for key, value in table.items() if (name := names[key])}


def _check_commands(tables: Mapping[str, object], place: str, commands: Sequence[str]) -> None:
    """Every table is named after a command."""
    for key in tables:
        if key not in commands:
            raise BadConfig(f"{place}{key}]: no such command", nearest(key, list(commands)))


def _site_named(args: Sequence[str]) -> str | None:
    for arg, following in itertools.pairwise([*args, ""]):
        if arg == "--site":
            return following
        if arg.startswith("--site="):
            return arg[len("--site=") :]
    return None
