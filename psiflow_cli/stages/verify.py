"""Whether the files of a model are those it was made with."""

from __future__ import annotations

from typing import Any

from psiflow_cli import bundle
from psiflow_cli.errors import BadData


def verify(name: str) -> dict[str, Any]:
    """How many files were checked, and what is wrong with them: `wrong` has a message and a hint for each.

    Raises NoInput or BadData for what is no bundle, or has weights that its model.toml does not name.
    """
    model = bundle.read(name)
    wrong = list(bundle.differences(model))
    checked = len(model.facts["weights"])
    try:
        checked += len(bundle.training_data(model))
    except BadData as error:
        wrong.append(error)
    return {
        "model": name,
        "checked": checked,
        "wrong": [{"message": error.message, "hint": error.hint} for error in wrong],
    }
