"""What psiflow uses of an installed package without its promise: a clear word where a version lacks it."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version


def require(package: str, reader: str, parts: Mapping[str, Iterable[str]]) -> None:
    """Raise ImportError where the installed package is another one than `reader`, a file of psiflow, knows.

    `parts` has names of attributes by `module` or `module:Class`, and names of parameters by `module:function`.
    """
    for path, names in parts.items():
        module, _, name = path.partition(":")
        try:
            owner = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name is None or "." not in error.name or not module.startswith(error.name):
                raise  # the whole package is missing, or one that it needs
            raise ImportError(_message(package, f"{module} is missing", reader)) from None
        if name and not hasattr(owner, name):
            raise ImportError(_message(package, f"{module} has no {name}", reader))
        checked: object = getattr(owner, name) if name else owner
        if inspect.isfunction(checked) or inspect.ismethod(checked):
            taken = inspect.signature(checked).parameters
            for parameter in names:
                if parameter not in taken:
                    raise ImportError(_message(package, f"{module}.{name} takes no {parameter}", reader))
        else:
            require_attributes(package, reader, checked, path.replace(":", "."), names)


def require_attributes(package: str, reader: str, checked: object, name: str, attributes: Iterable[str]) -> None:
    """Raise ImportError where `checked`, which is called `name`, lacks an attribute."""
    for attribute in attributes:
        if not hasattr(checked, attribute):
            raise ImportError(_message(package, f"{name} has no {attribute}", reader))


def _message(package: str, problem: str, reader: str) -> str:
    try:
        installed = version(package)
    except PackageNotFoundError:
        installed = "(not installed)"
    return f"{package} {installed}: {problem}; see {reader}"
