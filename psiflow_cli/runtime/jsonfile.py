"""JSON files that are whole or not there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from psiflow_cli import atomic_file

if TYPE_CHECKING:
    from psiflow_cli.messages import RunRecord


def write_json(path: Path, data: object) -> None:
    """Replace a JSON file whole, on disk before it takes its name; only one process may write it."""
    atomic_file.write(path, json.dumps(data, indent=1))


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object, empty if the file is not there or not whole."""
    try:
        data = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def read_run(folder: Path) -> RunRecord:
    """run.json of a run directory; empty if it is not there or not whole."""
    return cast("RunRecord", read_json(folder / "run.json"))
