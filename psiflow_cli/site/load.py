"""Find and read site files."""

from __future__ import annotations

import os
from pathlib import Path

from psiflow_cli import toml
from psiflow_cli.errors import BadConfig, nearest
from psiflow_cli.site import schema
from psiflow_cli.site.check import check


def folders() -> list[Path]:
    """Where site files are looked up by name, first match wins."""
    home = os.environ.get("HOME", "")
    config = Path(os.environ.get("XDG_CONFIG_HOME") or (Path(home) / ".config" if home else "/nonexistent"))
    package = Path(__file__).parents[1]
    shipped = [package / "_shipped" / "site.d", package.parent / "site.d"]
    return [Path("site.d"), Path("."), config / "psiflow" / "site.d", *shipped]


def available() -> dict[str, Path]:
    """Every site file by name; the working directory itself is not listed, but searched."""
    by_name: dict[str, Path] = {}
    for folder in folders():
        if folder != Path("."):
            for path in sorted(folder.glob("*.toml")) if folder.is_dir() else []:
                if path.is_file():
                    by_name.setdefault(path.stem, path)
    return by_name


def find(name: str, past: tuple[Path, ...] = ()) -> Path:
    """The site file of a name or a path, but none of `past`; raises BadConfig with the nearest known name."""
    if os.sep in name:
        path = Path(name)
        if not path.is_file():
            raise BadConfig(f"{name}: no such site file", "list the known ones with psiflow site list")
        return path
    stem = name.removesuffix(".toml")
    for folder in folders():
        candidate = folder / f"{stem}.toml"
        if candidate.is_file() and candidate.resolve() not in past:
            return candidate
    others = [other for other, path in available().items() if path.resolve() not in past]
    where = "; looked in the current folder and those of psiflow site list"
    raise BadConfig(f"no {'other ' if past else ''}site named {name!r}", f"{nearest(stem, others)}{where}")


def load(name: str) -> schema.Site:
    return parse(find(name))


def parse(path: Path) -> schema.Site:
    """Read and check one site file, with those it extends."""
    try:
        return check(path, tables(path))
    except BadConfig as error:
        raise BadConfig(toml.with_line(error.message), error.hint) from None


def tables(path: Path) -> dict[str, object]:
    """The tables of a site file as they are written, over those of the site that it extends."""
    return _extended(path, ())


def _extended(path: Path, below: tuple[Path, ...]) -> dict[str, object]:
    """A file's tables over those of the site that it extends."""
    if path.resolve() in below:
        raise BadConfig(f"{path}: extends: refers back to itself", "a site cannot extend itself")
    data = _read(path)
    base = data.get("extends")
    if base is None:
        return data
    if not isinstance(base, str):
        raise BadConfig(f"{path}: extends: must be the name of a site", 'as in extends = "slurm"')
    above = (*below, path.resolve())
    beside = path.parent / base
    # A name is looked up as on the command line, past this file, which may have the same name.
    if os.sep in base or (base.endswith(".toml") and beside.is_file()):
        base_path = beside
    else:
        try:
            base_path = find(base, above)
        except BadConfig as error:
            raise BadConfig(f"{path}: extends: {error.message}", error.hint) from None
    return _merged(_extended(base_path, above), data)


def _merged(base: dict[str, object], over: dict[str, object]) -> dict[str, object]:
    """`over` on top of `base`, table by table."""
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _read(path: Path) -> dict[str, object]:
    try:
        return toml.load(path, BadConfig, "see psiflow-site(5)")
    except OSError as error:
        raise BadConfig(f"{path}: {error.strerror or error}", "check its permissions") from None
