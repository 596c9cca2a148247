"""Check a site file's tables: every mistake names its file, table and key, and the nearest known name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from psiflow_cli import duration, registry
from psiflow_cli.errors import BadConfig, nearest
from psiflow_cli.site import schema
from psiflow_cli.site.detect import megabytes

_Table = TypeVar("_Table", bound=schema.Table)
_KINDS: dict[str, type[schema.Table]] = {
    "environments": schema.Environment, "resources": schema.Resources, "executors": schema.Executor,
}  # fmt: skip
_NO_ENVIRONMENT = ("-e", "--cleanenv", "-C", "--containall")
"""Options of Apptainer; workers learn of their GPUs, threads and scratch folder from the environment."""
_WORDS = {
    "object": "table",
    "array": "list",
    "str": "text",
    "bool": "true or false",
    "int": "whole number",
    "float": "number",
}


def check(path: Path, data: dict[str, object]) -> schema.Site:
    """The site that the contents of a file describe; raises BadConfig."""
    data = {kind: _as_known(group, _KINDS.get(kind), kind == "run") for kind, group in data.items()}
    providers = {
        name: _provider(f"{path}: [providers.{name}]", entries) for name, entries in _group(data, "providers").items()
    }
    for kind, table in _KINDS.items():
        group = data.get(kind)
        # One by one: of a mistake in the whole, msgspec does not say in which of the named tables it is.
        for name, entries in group.items() if isinstance(group, dict) else ():
            _convert(f"{path}: [{kind}.{name}]", entries, table)
    if isinstance(run := data.get("run"), dict):
        _convert(f"{path}: [run]", {k: v for k, v in run.items() if k != "retries"}, schema.Run)
        _convert(f"{path}: [run.retries]", run.get("retries", {}), schema.Retries)
    if isinstance(remote := data.get("remote"), dict):
        _convert(f"{path}: [remote]", remote, schema.Remote)
    # a provider's keys depend on its type: the tables made above take the place of what the whole file makes of them
    plain = {name: {} for name in providers} if "providers" in data else data.get("providers")
    site = _convert(f"{path}:", {**data, **({} if plain is None else {"providers": plain})}, schema.Site)
    site = msgspec.structs.replace(site, providers=providers)
    _check_names(path, site)
    _check_containers(path, site)
    _check_amounts(path, site)
    return site


def _group(data: dict[str, object], kind: str) -> dict[str, object]:
    group = data.get(kind)
    return group if isinstance(group, dict) else {}


def _provider(place: str, entries: object) -> schema.Provider:
    """A provider's table, checked by the file of its type in `runtime/providers/`."""
    kind = str(entries.get("type", "local") if isinstance(entries, dict) else "local").lower()
    kinds = registry.names("runtime.providers")
    if kind not in kinds:
        raise BadConfig(f"{place} type: unknown provider {kind!r}", nearest(kind, kinds))
    if isinstance(entries, dict) and "type" in entries:
        entries = {**entries, "type": kind}
    table = registry.load("runtime.providers", kind).Provider
    provider: schema.Provider = _convert(place, _with_known_words(entries, table), table)
    return provider


def _as_known(group: object, table: type[schema.Table] | None, is_run: bool) -> object:
    """A group of tables, or the table `run`, with words in capitals or not as the schema has them."""
    if is_run:
        return _with_known_words(group, schema.Run)
    if table is None or not isinstance(group, dict):
        return group
    return {name: _with_known_words(entries, table) for name, entries in group.items()}


def _with_known_words(entries: object, table: type[schema.Table]) -> object:
    if not isinstance(entries, dict):
        return entries
    kinds = get_type_hints(table, include_extras=True)
    known = {key: {word.lower(): word for word in _literals(kinds.get(key))} for key in entries}
    return {
        key: known[key].get(value.lower(), value) if isinstance(value, str) else value for key, value in entries.items()
    }


def _convert(place: str, data: object, table: type[_Table]) -> _Table:
    try:
        return msgspec.convert(data, table)
    except msgspec.ValidationError as error:
        raise _explain(place, str(error), table) from None


def _explain(place: str, text: str, table: type[schema.Table]) -> BadConfig:
    """`FILE: [table] key: what` from msgspec's ``What - at `$.key` ``."""
    what, _, at = text.partition(" - at `$")
    key = next((part for part in re.split(r"[.\[\]`]+", at) if part), "")
    if unknown := re.search(r"unknown field `(.+?)`", what):
        return BadConfig(
            f"{place} {unknown[1]}: unknown key", nearest(unknown[1], list(table.__struct_encode_fields__))
        )
    if missing := re.search(r"missing required field `(.+?)`", what):
        return BadConfig(f"{place} {missing[1]}: required, but missing", "see site.d/local.toml for a complete example")
    allowed = _literals(get_type_hints(table, include_extras=True).get(key))
    hint = nearest(what.split("'")[1], allowed) if allowed and "'" in what else "see psiflow-site(5)"
    if key in ("walltime", "min_runtime", "idle_time"):
        hint = 'write durations as quoted strings, as in "12:00:00"'
    elif key.startswith("memory"):
        hint = 'write memory as a quoted string with a unit, as in "15 GB"'
    elif key == "device" and "'gpu'" in what.lower():
        hint = "did you mean 'cuda'?"
    if table is schema.Remote and "regex" in what:
        what = "not a name" if key == "host" else "empty, or not one line"
        hint = "a name as `ssh` takes it, such as tier1 or me@login.example.org" if key == "host" else hint
    what = re.sub(r"`([^`]+)`", lambda m: " or ".join(_WORDS.get(w, w) for w in m[1].split(" | ")), what)
    what = re.sub(r"(?i)\b(expected|got) (?=table|list|whole number|number)", r"\1 a ", what)
    what = (
        what.replace("Invalid enum value", "unknown value")
        .replace("number >= ", "number of at least ")
        .replace("number <= ", "number of at most ")
    )
    return BadConfig(f"{place} {key + ': ' if key else ''}{what[0].lower() + what[1:]}", hint)


def _literals(kind: object) -> list[str]:
    """The words that a key of this type may be."""
    if get_origin(kind) is Literal:
        return [str(word) for word in get_args(kind) if word]
    return [word for part in get_args(kind) for word in _literals(part)]


def _check_names(path: Path, site: schema.Site) -> None:
    """Every name that a table mentions exists."""

    def exists(place: str, name: str, names: Mapping[str, object]) -> None:
        if name not in names:
            raise BadConfig(f"{path}: {place}: there is no {name!r}", nearest(name, list(names)))

    for label, executor in site.executors.items():
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", label):
            problem = f"{path}: [executors.{label}]: a name may contain only letters, digits, '_', '-' and '.'"
            raise BadConfig(problem, "it becomes part of the names of jobs and of files")
        exists(f"[executors.{label}] provider", executor.provider, site.providers)
        exists(f"[executors.{label}] resources", executor.resources, site.resources)
        if executor.on_oom:
            exists(f"[executors.{label}] on_oom", executor.on_oom, site.executors)
        if executor.environment:
            exists(f"[executors.{label}] environment", executor.environment, site.environments)
    if not isinstance(site.use.get("default"), str):
        raise BadConfig(f"{path}: [use] default: required, but missing", 'name an executor with default = "NAME"')
    for family, uses in site.use.items():
        if isinstance(uses, str):
            exists(f"[use] {family}", uses, site.executors)
            continue
        for operation, name in uses.items():
            if operation not in schema.OPERATIONS:
                problem = f"{path}: [use] {family}.{operation}: no such operation"
                raise BadConfig(problem, nearest(operation, schema.OPERATIONS))
            exists(f"[use] {family}.{operation}", name, site.executors)


def _check_containers(path: Path, site: schema.Site) -> None:
    """A shell of the host's loads no modules inside an image."""
    for name, environment in site.environments.items():
        for key in ("modules", "source"):
            if environment.container and getattr(environment, key):
                problem = f"{path}: [environments.{name}] {key}: has no effect inside a container"
                hint = "programs must be in the image; put what apptainer itself needs into worker_init"
                raise BadConfig(problem, hint)
        for word in environment.container_options:
            if word in _NO_ENVIRONMENT:
                problem = f"{path}: [environments.{name}] container_options: {word} hides the environment from workers"
                raise BadConfig(problem, 'workers need the environment; to hide files, use "--contain" or "--no-mount"')


def _check_amounts(path: Path, site: schema.Site) -> None:
    """Durations and memory can be read."""
    durations = {
        f"[run] {key}": getattr(site.run, key) for key in ("first_worker", "submit_patience", "queue_patience")
    }
    if site.remote and site.remote.reconnect != "0":
        durations["[remote] reconnect"] = site.remote.reconnect
    for place, text in durations.items():
        try:
            duration.parse(text)
        except ValueError as error:
            raise BadConfig(f"{path}: {place}: {error}", 'as in "2 min"') from None
    clock, size = (duration.parse, 'as in "12:00:00" or "90 min"'), (megabytes, 'as in "4 GB" or "500 MB"')
    ports = (schema.port_range, 'write the first and the last port, as in "50000-51000"')
    readers = {
        "walltime": clock, "idle_time": clock, "min_runtime": clock, "stall_patience": clock,
        "memory": size, "memory_per_node": size,
        "ports": ports,
    }  # fmt: skip
    for kind in ("providers", "resources", "executors"):
        for name, table in getattr(site, kind).items():
            for key, (read, example) in readers.items():
                try:
                    if text := getattr(table, key, ""):
                        read(text)
                except ValueError as error:
                    raise BadConfig(f"{path}: [{kind}.{name}] {key}: {error}", example) from None
