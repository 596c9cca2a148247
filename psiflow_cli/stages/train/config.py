"""The trainer's own configuration file, YAML or TOML."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from psiflow_cli import toml
from psiflow_cli.errors import BadConfig, NoInput

if TYPE_CHECKING:
    from psiflow_cli.messages import Config


def read(config: str | None) -> Config:
    """The trainer's configuration file, YAML or TOML by suffix."""
    if config is None:
        return {}
    path = Path(config)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise NoInput(f"{config}: {error.strerror}", "check its name and the working directory") from None
    except UnicodeDecodeError as error:
        raise BadConfig(f"{config}: not UTF-8 text (byte {error.start})", "save it as UTF-8") from None
    data = _parse_toml(config, text) if path.suffix == ".toml" else _parse_yaml(config, text)
    if not isinstance(data, dict):
        raise BadConfig(f"{config}: not a table of settings", "one `name: value` a line, in the trainer's own names")
    return data


def _parse_toml(name: str, text: str) -> Config:
    try:
        return toml.loads(text)
    except toml.TOMLDecodeError as error:
        what, hint = toml.explain(name, text, error)
        raise BadConfig(what, hint or "YAML is read from files that do not end in .toml") from None


def _parse_yaml(name: str, text: str) -> object:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        what = getattr(error, "problem", None) or str(error)
        place = f"{name}:{mark.line + 1}" if mark else name
        raise BadConfig(f"{place}: not valid YAML: {' '.join(what.split())}", "TOML is read from *.toml") from None
