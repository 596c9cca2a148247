"""Workers' environments that are quickly made, broken and mended."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from pathlib import Path

VERSION = f"python{sys.version_info[0]}.{sys.version_info[1]}"
LIBRARY = "libgomp.so.1: cannot open shared object file: No such file or directory"


class Environment:
    """A virtual environment that finds the packages of the running one behind its own."""

    def __init__(self, prefix: Path) -> None:
        self.prefix = prefix
        self.packages = prefix / "lib" / VERSION / "site-packages"
        self.packages.mkdir(parents=True)
        (prefix / "bin").mkdir()
        base = os.path.realpath(sys.executable)
        (prefix / "bin/python").symlink_to(base)
        (prefix / "pyvenv.cfg").write_text(f"home = {os.path.dirname(base)}\ninclude-system-site-packages = false\n")
        shutil.copy(Path(sys.executable).with_name("process_worker_pool.py"), prefix / "bin")
        self.fix()

    def fix(self) -> None:
        """All packages are there."""
        shutil.rmtree(self.packages)
        self.packages.mkdir()
        (self.packages / "others.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")

    def lose_packages(self) -> None:
        """None is there but psiflow and Parsl, with what they need, and what else is to be found by a search only."""
        (self.packages / "others.pth").unlink()

    def poison(self, package: str, line: str) -> None:
        """A package does this when it is imported."""
        poison(self.packages, package, line)


def poison(folder: Path, package: str, line: str) -> Path:
    """Write a package that does this when it is imported; returns the folder for PYTHONPATH."""
    (folder / package).mkdir(parents=True)
    (folder / package / "__init__.py").write_text(f"{line}\n")
    return folder.absolute()
