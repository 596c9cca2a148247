"""`[executors.NAME.parsl]`: more parameters of Parsl's class, each checked against the Parsl that is installed."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from psiflow_cli.errors import BadConfig, nearest
from psiflow_cli.site.executor import ResolvedExecutor


def parameters(
    resolved: ResolvedExecutor, parsl_class: type, ours: Iterable[str], instead: Mapping[str, str]
) -> dict[str, Any]:
    """What the site adds to the constructor of an executor, as its annotations want it.

    `ours` are the parameters that psiflow sets, and `instead` says what a site sets in place of one. Raises BadConfig
    for a parameter of these two, for one that the class does not have, and for a value that it cannot take.
    """
    owned = {**dict.fromkeys(ours, ""), **instead}
    hints = typing.get_type_hints(parsl_class.__init__)  # type: ignore[misc]
    names = [name for name in inspect.signature(parsl_class).parameters if name not in owned]
    return {
        name: _converted(f"[executors.{resolved.label}.parsl] {name}", value, hints.get(name, Any), names, owned)
        for name, value in resolved.table.parsl.items()
    }


def _converted(place: str, value: object, hint: object, names: list[str], owned: Mapping[str, str]) -> object:
    name = place.split()[-1]
    if name in owned:
        raise BadConfig(f"{place}: psiflow sets it itself", f"use {owned[name]}" if owned[name] else "remove it")
    if name not in names:
        from parsl.version import VERSION

        raise BadConfig(f"{place}: parsl {VERSION} has no such parameter", nearest(name, names))
    try:
        return msgspec.convert(value, hint, strict=True)
    except (msgspec.ValidationError, TypeError) as error:  # some take an object of Python, which TOML cannot hold
        what = str(error).replace("`", "")
        raise BadConfig(f"{place}: {what[0].lower()}{what[1:]}", "see Parsl's own documentation") from None
