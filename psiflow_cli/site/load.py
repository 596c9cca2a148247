"""Find, read and check site files: every mistake names its file, table and key."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import msgspec

from psiflow_cli import duration, toml
from psiflow_cli.errors import BadConfig, nearest
from psiflow_cli.site import schema


def folders() -> list[Path]:
    """Where site files are looked up by name, first match wins."""
    home = os.environ.get("HOME", "")
    config = Path(os.environ.get("XDG_CONFIG_HOME") or (Path(home) / ".config" if home else "/nonexistent"))
    package = Path(__file__).parents[1]
    shipped = [package / "_shipped" / "site.d", package.parent / "site.d"]
    return [Path("site.d"), Path("."), config / "psiflow" / "site.d", *shipped]


def available() -> dict[str, Path]:
    """Every site file by name; the working directory itself is not listed, but searched."""
    found: dict[str, Path] = {}
    for folder in folders():
        if folder != Path("."):
            for path in sorted(folder.glob("*.toml")) if folder.is_dir() else []:
                found.setdefault(path.stem, path)
    return found


def find(name: str) -> Path:
    """The site file of a name or a path; raises BadConfig with the nearest known name."""
    if os.sep in name:
        path = Path(name)
        if not path.is_file():
            raise BadConfig(f"{name}: no such site file", "psiflow site list shows the known ones")
        return path
    for folder in folders():
        for candidate in (folder / name, folder / f"{name}.toml"):
            if candidate.is_file():
                return candidate
    raise BadConfig(f"no site named {name!r}", nearest(name.removesuffix(".toml"), list(available())))


def load(name: str) -> schema.Site:
    """Read and check a site by name or path."""
    return parse(find(name))


def parse(path: Path) -> schema.Site:
    """Read and check one site file."""
    try:
        data = toml.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadConfig(f"{path}: {error.strerror or error}", "check its permissions") from None
    except UnicodeDecodeError as error:
        raise BadConfig(f"{path}: not UTF-8 text (byte {error.start})", "save it as UTF-8") from None
    except toml.TOMLDecodeError as error:
        raise BadConfig(_syntax(path, str(error)), 'durations and times are quoted strings, as in "12:00:00"') from None
    try:
        site = msgspec.convert(data, schema.Site)
    except msgspec.ValidationError as error:
        raise _invalid(path, str(error), data) from None
    _check_names(path, site)
    _check_durations(path, site)
    return site


def _syntax(path: Path, text: str) -> str:
    """`FILE:LINE: what` from a TOML error, which says `what (at line 3, column 4)`."""
    match = re.search(r"\(at line (\d+), column \d+\)", text)
    if match:
        return f"{path}:{match[1]}: not valid TOML: {text[: match.start()].strip()}"
    return f"{path}: not valid TOML: {text}"


def _invalid(path: Path, text: str, data: dict[str, Any]) -> BadConfig:
    """`FILE: [table] key: what` and the nearest known key, from msgspec's words."""
    what, _, at = text.partition(" - at `$")
    # a dict's keys show as `[...]` in msgspec's path, so the offending table is looked up by its contents
    parts = [p for p in re.split(r"[.\[\]]+", at.rstrip("`")) if p and p != "..."]
    unknown = re.search(r"unknown field `(.+?)`", what)
    tables = _tables(data, parts[0] if parts else "")
    key = parts[-1] if len(parts) > 1 else ""
    name = next((n for n, t in tables if (unknown[1] if unknown else key) in t), parts[0] if parts else "")
    place = f"[{name}] " if name else ""
    if unknown:
        return BadConfig(f"{path}: {place}{unknown[1]}: unknown key", nearest(unknown[1], _known(parts)))
    hint = 'durations are quoted strings, as in "12:00:00"' if "walltime" in key else "see psiflow-site(5)"
    missing = re.search(r"missing required field `(.+?)`", what)
    if missing:
        return BadConfig(f"{path}: {place}{missing[1]}: required, but missing", "site.d/local.toml is a whole example")
    return BadConfig(f"{path}: {place}{key + ': ' if key else ''}{what[0].lower() + what[1:]}", hint)


def _tables(data: dict[str, Any], kind: str) -> list[tuple[str, dict[str, Any]]]:
    group = data.get(kind)
    if not isinstance(group, dict):
        return []
    return [(f"{kind}.{n}", t) for n, t in group.items() if isinstance(t, dict)]


def _known(parts: list[str]) -> list[str]:
    """The keys that the table at this place may have."""
    kinds: dict[str, type[schema.Table]] = {
        "providers": schema.Provider,
        "environments": schema.Environment,
        "resources": schema.Resources,
        "executors": schema.Executor,
    }
    table = kinds.get(parts[0], schema.Site) if parts else schema.Site
    return list(table.__struct_fields__)


def _check_names(path: Path, site: schema.Site) -> None:
    """Every name that a table mentions exists."""

    def exists(place: str, name: str, known: dict[str, Any]) -> None:
        if name not in known:
            raise BadConfig(f"{path}: {place}: nothing is named {name!r}", nearest(name, list(known)))

    for label, executor in site.executors.items():
        exists(f"[executors.{label}] provider", executor.provider, site.providers)
        exists(f"[executors.{label}] resources", executor.resources, site.resources)
        if executor.environment:
            exists(f"[executors.{label}] environment", executor.environment, site.environments)
    if not isinstance(site.use.get("default"), str):
        raise BadConfig(f"{path}: [use] default: required, but missing", 'default = "NAME" names an executor')
    for family, uses in site.use.items():
        for operation, name in uses.items() if isinstance(uses, dict) else [("", uses)]:
            exists(f"[use] {family}{'.' if operation else ''}{operation}", name, site.executors)


def _check_durations(path: Path, site: schema.Site) -> None:
    for name, resources in site.resources.items():
        if resources.walltime:
            try:
                duration.parse(resources.walltime)
            except ValueError as error:
                raise BadConfig(
                    f"{path}: [resources.{name}] walltime: {error}", 'as in "12:00:00" or "90 min"'
                ) from None
