"""What the user wants tried with frames that do not converge; nothing is ever tried that is not written down.

Either `--recover KEY=VALUE`, once for each thing to try, or the file `NAME.recover.toml` beside the input `NAME.inp`:

    [[unconverged]]
    "FORCE_EVAL/DFT/SCF/MAX_SCF" = 200
"""

from __future__ import annotations

import re
from pathlib import Path

from psiflow_cli import toml
from psiflow_cli.errors import BadConfig, UsageError
from psiflow_cli.protocols import Changes
from psiflow_cli.stages.core.framewise import Recovery
from psiflow_cli.stages.label.method import Method

_NEXT = re.compile(r",(?=[\w/]+=)")


def side_file(input_file: str) -> Path:
    """Where the recovery of an input is looked for."""
    return Path(input_file).with_suffix(".recover.toml")


def steps(method: Method, options: tuple[str, ...]) -> tuple[Recovery, ...]:
    """The steps of the command line, else those of the file beside the input. Raises UsageError or BadConfig."""
    changes = [dict(_pair(part) for part in _NEXT.split(text)) for text in options]
    path = side_file(method.input_file) if method.input_file else None
    if not changes and path and path.is_file():
        changes = _read(path)
    if not changes:
        return ()
    if not isinstance(method.module, Changes):
        raise UsageError(f"the reference {method.name} has no input that could be changed", "leave out --recover")
    return tuple(
        Recovery(
            ", ".join(f"{k}={v}" for k, v in change.items()),
            {"settings": method.module.changed(method.settings, change)},
        )
        for change in changes
    )


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key.strip() or not equals:
        raise UsageError(f"--recover {text}: must be KEY=VALUE", "join several changes of one attempt with commas")
    return key.strip(), value.strip()


def _read(path: Path) -> list[dict[str, str]]:
    data = toml.load(path, BadConfig)
    steps = data.pop("unconverged", [])
    for key in data:
        raise BadConfig(f"{path}: {key}: unknown key", "only [[unconverged]] is possible")
    if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
        raise BadConfig(f"{path}: unconverged: must be tables, each with the head [[unconverged]]")
    return [{key: _word(path, key, value) for key, value in step.items()} for step in steps]


def _word(path: Path, key: str, value: object) -> str:
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, (str, int, float)):
        return str(value)
    raise BadConfig(f"{path}: {key}: must be a text or a number", 'quote the path, as in "FORCE_EVAL/DFT/SCF/MAX_SCF"')
