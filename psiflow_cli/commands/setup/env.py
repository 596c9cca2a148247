"""psiflow env: the workers' Python environments, one per model family."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from psiflow_cli import options, registry
from psiflow_cli.console import echo_json, note
from psiflow_cli.values import kinds

if TYPE_CHECKING:
    from psiflow_cli.messages import EnvironmentRow

_JSON = options.flag("--json as_json", "Print JSON.")


@click.group("env", cls=options.Group)
def command() -> None:
    """Make, list and remove the workers' Python environments, one per model family.

    The command itself needs no trainer, and two families can seldom share an environment.

    \b
    Examples:
      psiflow env create mace
      psiflow env list
    """


@command.command("create", short_help="Create the environment for a model family")
@click.argument("family", metavar="|".join(registry.families()),
    type=kinds.Name("model family", registry.families(), or_file=False))  # fmt: skip
@options.file("--prefix", "Folder of the environment, on a disk that all nodes see [default: see above].", "DIR")
@options.text("--name", None, "NAME", "Name of the environment [default: the family].")
@options.text("--python", None, "PROGRAM", "Python to make it with [default: the one that runs psiflow].")
@options.texts("--with more", "REQUIREMENT",
    "Also install this requirement, instead of a pinned version: torch==2.9.1. May be repeated.")  # fmt: skip
@click.option(
    "--gpu",
    is_flag=False,
    flag_value="auto",
    type=kinds.Word(["auto", "cu12", "cu13"]),
    help="Install torch for NVIDIA GPUs, for the driver's CUDA (nvidia-smi) or the one named, and fast kernels.",
)
@options.flag("--dry-run", "Show what pip would install without installing it.")
@_JSON
@options.talk
def create(
    family: str, prefix: str | None, name: str | None, python: str | None, more: tuple[str, ...], gpu: str | None,
    dry_run: bool, as_json: bool,
) -> None:  # fmt: skip
    """Create the Python environment in which the workers of a model family run, with the Python and Parsl versions of
    the command itself.

    It goes to $XDG_DATA_HOME/psiflow/envs/NAME (or ~/.local/share/psiflow/envs/NAME), where it is found by sites that
    give no environment; with --prefix, a link there points to it. An existing environment that fits is left as it is;
    an unfinished one, or one for other versions, is made again. Pip looks where its own configuration says
    (PIP_INDEX_URL, PIP_FIND_LINKS).

    \b
    Examples:
      psiflow env create mace
      psiflow env create mace --gpu
      psiflow env create nequip --gpu cu12 --dry-run
      psiflow env create mace --prefix /scratch/me/envs/mace --with torch==2.9.1
    """
    import sys
    from pathlib import Path

    from psiflow_cli.runtime.stop.signals import stoppable
    from psiflow_cli.stages.setup import env, install

    recipe = install.Recipe(python or sys.executable, *env.packages(family, more, gpu))
    if dry_run:
        wanted = {"family": family, "packages": list(recipe.more), "index": recipe.index}
        if as_json:
            echo_json({"command": "env create", **wanted})
        also = "".join(f" {name}" for name in recipe.more)
        where = f", also from {recipe.index}" if recipe.index else ""
        note(f"pip would install psiflow-cli[{family}]{also}{where}")
        return
    with stoppable():
        row = env.create(family, name or "", Path(prefix) if prefix else None, recipe)
    if as_json:
        echo_json({"command": "env create", **row})
    state = "is up to date" if row["up_to_date"] else "is ready"
    note(f"{row['prefix']} {state}: {family}, Python {row['python']}, Parsl {row['parsl']}")


@command.command("list", short_help="List environments and whether they fit this command")
@_JSON
@options.talk
def list_(as_json: bool) -> None:
    """List the environments, and whether each fits this version of psiflow.

    \b
    Examples:
      psiflow env list
      psiflow env list --json | jq -r '.[].name'
    """
    from psiflow_cli.stages.setup import env

    rows = env.rows()
    if as_json:
        echo_json(rows)
        return
    width = max((len(row["name"]) for row in rows), default=0)
    for row in rows:
        click.echo(f"{row['name']:{width}}  {_sentence(row)}\n{'':{width}}  {row['prefix']}")
    if not rows:
        note("no environments; create one with psiflow env create FAMILY")


def _sentence(row: EnvironmentRow) -> str:
    versions = f", Python {row['python']}, Parsl {row['parsl']}" if row["parsl"] else ""
    return f"{row['family'] or '?'}{versions}: {row['problem'] or 'fits'}"


@command.command("remove", short_help="Remove an environment that psiflow made")
@click.argument("name")
@_JSON
@options.talk
def remove(name: str, as_json: bool) -> None:
    """Remove the environment NAME. Only environments that psiflow made are removed.

    \b
    Examples:
      psiflow env remove mace
    """
    from dataclasses import asdict

    from psiflow_cli.stages.setup import env

    removed = env.remove(name)
    if as_json:
        echo_json({"command": "env remove", **asdict(removed)})
    left = f"; not removed, because psiflow did not make it: {', '.join(removed.left)}" if removed.left else ""
    note(f"removed {removed.prefix}{left}")
