"""Where the code of a potential is, by its family."""

from __future__ import annotations

import importlib.util
from functools import lru_cache


@lru_cache
def module(family: str) -> str:
    """The module of a family, for `call.resolve`; a module or a file of the user's own stays what it is."""
    if "." in family:
        return family
    trained = f"psiflow_cli.models.{family}"
    return trained if importlib.util.find_spec(trained) else f"psiflow_cli.potentials.{family}"
