"""Make and remove the workers' environments; see `psiflow_cli.site.environments` for what is one."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from psiflow_cli import registry
from psiflow_cli.console import note
from psiflow_cli.errors import CannotCreate, NoInput, Stopped, UsageError, nearest
from psiflow_cli.runtime.jsonfile import write_json
from psiflow_cli.site import environments
from psiflow_cli.site.environments import MARKER, Environment, Versions
from psiflow_cli.stages.setup import gpu as graphics
from psiflow_cli.stages.setup import install

if TYPE_CHECKING:
    from psiflow_cli.messages import EnvironmentMarker, EnvironmentRow


def packages(family: str, more: tuple[str, ...], gpu: str | None) -> tuple[tuple[str, ...], str]:
    """What is installed beside what the family needs, and where pip looks for it, too; see `Recipe`."""
    families = registry.families()
    if family not in families:
        raise UsageError(f"no model family {family!r}", nearest(family, families))
    if not gpu:
        return more, ""
    version = graphics.cuda(gpu)
    return (*more, *graphics.kernels(family, version)), graphics.INDEXES[version]


def create(family: str, name: str, prefix: Path | None, recipe: install.Recipe) -> EnvironmentRow:
    """Make an environment, or find that it is there."""
    name = name or family
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", name):
        raise UsageError(f"--name: {name!r} is not a valid name", "use letters, digits, dots, dashes and underscores")
    recipe.check()
    place = environments.folder() / name
    prefix = Path(os.path.abspath(prefix)) if prefix else environments.link_target(place)
    _claim(place, prefix)
    prefix.parent.mkdir(parents=True, exist_ok=True)
    with _locked(prefix) as log:
        environment = _ours(prefix, family)
        fits = not environment.unfit(environments.running()) and set(recipe.more) <= set(environment.facts["with"])
        if not fits:
            _make(environment, family, recipe, log)
    _link(place, prefix)
    return {**_row(environments.read(prefix, name)), "up_to_date": fits}


def _claim(place: Path, prefix: Path) -> None:
    """Raise CannotCreate if the name belongs to another folder."""
    if place.exists() and place.resolve() != prefix.resolve():
        problem = f"{place.name} is the name of the environment in {environments.link_target(place)}"
        raise CannotCreate(problem, f"give this one a --name, or: psiflow env remove {place.name}")


def _link(place: Path, prefix: Path) -> None:
    """An environment elsewhere is found by its name through a link."""
    if prefix.resolve() == place.resolve():
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        place.unlink()
    place.symlink_to(prefix)


def _ours(prefix: Path, family: str) -> Environment:
    """The environment to make, perhaps in the place of an older one; raises CannotCreate for what is not ours."""
    environment = environments.read(prefix)
    if not environment.facts and os.path.lexists(prefix) and not (prefix.is_dir() and not os.listdir(prefix)):
        raise CannotCreate(f"{prefix}: exists, and psiflow did not make it", "choose another --prefix, or remove it")
    if environment.facts.get("finished") and environment.facts["family"] != family:
        problem = f"{prefix}: this is the environment of {environment.facts['family']}"
        raise CannotCreate(problem, "choose another --prefix: families cannot share one")
    return environment


def _make(environment: Environment, family: str, recipe: install.Recipe, log: BinaryIO) -> None:
    prefix = environment.prefix
    if environment.facts:
        note(
            f"{prefix} is created again: {environment.unfit(environments.running()) or 'other packages were requested'}"
        )
        _clear(environment)
    prefix.mkdir(exist_ok=True)
    # A folder with this marker is ours from the start, so that what is left of a killed command can be made again.
    present = [name for name in os.listdir(prefix) if name != MARKER]
    begun: EnvironmentMarker = {"family": family, "finished": False, "kept": present}
    write_json(prefix / MARKER, begun)
    note(f"creating {prefix}; the output of pip goes to {log.name}")
    modules = install.install(prefix, registry.potential(family), recipe, log)
    facts: EnvironmentMarker = {
        **begun, **environments.running(), "modules": modules, "with": sorted(recipe.more),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "entries": sorted(set(os.listdir(prefix)) - set(present)),
    }  # fmt: skip
    write_json(prefix / MARKER, facts)


def _clear(environment: Environment) -> list[str]:
    """Remove what psiflow put into a folder, the marker last; returns the names of what is left."""
    prefix, facts = environment.prefix, environment.facts
    entries = set(os.listdir(prefix))
    own = set(facts["entries"]) if "entries" in facts else entries - set(facts.get("kept", ()))
    write_json(prefix / MARKER, {**facts, "finished": False})  # from here on no command uses it
    for entry in sorted((own & entries) - {MARKER}):
        path = prefix / entry
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    (prefix / MARKER).unlink()
    return sorted(os.listdir(prefix))


@dataclass(frozen=True)
class Removed:
    name: str
    prefix: str
    left: list[str]  # files in its folder that psiflow did not make


def remove(name: str) -> Removed:
    """Remove an environment by name; only what psiflow made goes."""
    environment, place = environments.find(name) if "/" not in name else None, environments.folder() / name
    if environment is None:
        raise NoInput(f"no environment named {name!r}", nearest(name, [e.name for e in environments.available()]))
    remaining: list[str] = []
    if environment.facts:
        with _locked(environment.prefix) as log:
            remaining = _clear(environment)
            if not remaining:
                environment.prefix.rmdir()
            os.unlink(log.name)
    elif not place.is_symlink():
        raise CannotCreate(f"{place}: psiflow did not make it", "remove it yourself")
    if place.is_symlink():
        place.unlink()
    return Removed(name, str(environment.prefix), remaining)


def rows() -> list[EnvironmentRow]:
    """Every environment, and whether it fits."""
    command = environments.running()
    return [_row(environment, command) for environment in environments.available()]


def _row(environment: Environment, command: Versions | None = None) -> EnvironmentRow:
    facts = environment.facts
    why = environment.unfit(command or environments.running())
    return {
        "name": environment.name, "family": facts.get("family"), "prefix": str(environment.prefix),
        "python": facts.get("python"), "parsl": facts.get("parsl"), "psiflow": facts.get("psiflow"),
        "matches": not why, "problem": why,
    }  # fmt: skip


@contextlib.contextmanager
def _locked(prefix: Path) -> Iterator[BinaryIO]:
    """The log of one environment; the lock on it is held by pip, too, so that it outlives a killed command."""
    path = prefix.with_name(f"{prefix.name}.psiflow-env.log")
    with path.open("ab") as log:
        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Stopped(f"{prefix} is being made by another command", f"its log: {path}") from None
        yield log
