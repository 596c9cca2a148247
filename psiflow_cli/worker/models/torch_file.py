"""What a file of `torch.save` says of the object in it, read without running any of it."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path


class _Inert:
    """Stands for an object of any class: it keeps the state that it is given, and does nothing."""

    def __init__(self, *_: object, **__: object) -> None:
        self.state: object = None

    def __setstate__(self, state: object) -> None:
        self.state = state

    def __setitem__(self, _key: object, _value: object) -> None: ...
    def append(self, _value: object) -> None: ...
    def extend(self, _values: object) -> None: ...


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> type:
        return dict if (module, name) == ("collections", "OrderedDict") else _Inert

    def persistent_load(self, _pid: object) -> None:
        """Arrays lie in files of their own, and are not read."""


def attributes(path: Path) -> Mapping[str, object]:
    """The attributes of the object that was saved; empty where that cannot be told without running the file."""
    try:
        with zipfile.ZipFile(path) as archive:
            name = next(name for name in archive.namelist() if name.count("/") == 1 and name.endswith("/data.pkl"))
            with archive.open(name) as stream:
                saved = _Reader(stream).load()
    except Exception:  # any content whatever: it is no file of torch.save, or one of a kind that is not known here
        return {}
    state = saved.state if isinstance(saved, _Inert) else saved
    return state if isinstance(state, dict) else {}
