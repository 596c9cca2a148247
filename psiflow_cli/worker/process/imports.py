"""Whether an installed package works: its import, and the import of the compiled parts that it loads late.

`python imports.py NAME` does it in a process of its own; the standard library is all that it needs.
"""

from __future__ import annotations

import importlib
import os
import sys
from importlib.machinery import EXTENSION_SUFFIXES


def load(name: str) -> None:
    """Import a package and the compiled modules in its folder; raises what a broken one raises.

    `import tblite`, for one, succeeds where a library that tblite is linked with is missing.
    """
    package = importlib.import_module(name)
    for folder in getattr(package, "__path__", ()):
        for file in sorted(os.listdir(folder)):
            if file.endswith(tuple(EXTENSION_SUFFIXES)):
                importlib.import_module(f"{name}.{file.partition('.')[0]}")


if __name__ == "__main__":
    load(sys.argv[1])
