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
    stem = name.removesuffix(".toml")
    for folder in folders():
        candidate = folder / f"{stem}.toml"
        if candidate.is_file():
            return candidate
    raise BadConfig(f"no site named {name!r}", nearest(stem, list(available())))


def load(name: str) -> schema.Site:
    """Read and check a site by name or path."""
    return parse(find(name))


def parse(path: Path) -> schema.Site:
    """Read and check one site file."""
    try:
        text = path.read_text(encoding="utf-8")
        data = toml.loads(text)
    except OSError as error:
        raise BadConfig(f"{path}: {error.strerror or error}", "check its permissions") from None
    except UnicodeDecodeError as error:
        raise BadConfig(f"{path}: not UTF-8 text (byte {error.start})", "save it as UTF-8") from None
    except toml.TOMLDecodeError as error:
        what, hint = toml.explain(path, text, error)
        raise BadConfig(what, hint or "see psiflow-site(5)") from None
    return check(path, data)
