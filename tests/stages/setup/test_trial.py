"""Whether what is installed works: in environments with tiny packages, some of them broken as real ones are."""

from __future__ import annotations

import os
import subprocess
import venv
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

from psiflow_cli.stages.setup import trial
from psiflow_cli.worker import failures

LIBGOMP = "libgomp.so.1: cannot open shared object file: No such file or directory"


@pytest.fixture
def python(tmp_path: Path) -> str:
    """The Python of an environment with one package that works and three that do not."""
    venv.create(tmp_path, symlinks=True)
    (site_packages,) = tmp_path.glob("lib/python*/site-packages")
    for name, code in {"ase": "", "tblite": "", "dftd3": "", "pyscf": f"raise OSError(\n{LIBGOMP!r})"}.items():
        (site_packages / name).mkdir()
        (site_packages / name / "__init__.py").write_text(code)
    # what `import` of the package alone does not load
    (site_packages / "tblite" / f"_libtblite{EXTENSION_SUFFIXES[0]}").write_text("no library")
    (site_packages / "dftd3" / "library.py").write_text("raise ImportError('not compiled, so loaded by who needs it')")
    return str(tmp_path / "bin" / "python")


def test_compiled_parts_are_loaded_too(python: str) -> None:
    there = trial.modules(python)
    assert set(there) == {"ase", "dftd3", "pyscf", "tblite"}
    faults = trial.faults(python, there)
    assert set(faults) == {"pyscf", "tblite"}
    assert "_libtblite" in faults["tblite"]
    assert faults["pyscf"].endswith(LIBGOMP)


@pytest.mark.parametrize(
    ("library", "package"),
    [
        ("libgomp.so.1", "libgomp1"),
        ("libstdc++.so.6", "libstdc++6"),
        ("libGL.so.1", "libgl1"),
        ("libX11.so.6", "libx11-6"),
        ("libgfortran.so.5.0.0", "libgfortran5"),
        ("libcurl.so.4", "libcurl4"),
        ("libcuda.so.1", ""),  # the driver's
        ("libcudart.so.13", ""),
        ("libpython3.11.so.1.0", ""),  # does not follow the rule
    ],
)
def test_the_package_of_a_missing_library(library: str, package: str) -> None:
    message = f"ImportError: {library}: cannot open shared object file: No such file or directory"
    assert failures.missing_library(message) == package
    assert failures.again(message).endswith(f"apt install {package}" if package else failures.AGAIN)


APT = """#!/bin/sh
echo "apt-get $*" >>apt.log
[ "$1" = update ] || touch installed
"""
PYTHON = """#!/bin/sh
[ -e installed ] && exit
echo "tblite cannot be imported: libgomp.so.1" >&2
echo libgomp1
exit 69
"""


@pytest.mark.parametrize("root", [True, False])
def test_a_recipe_installs_the_library_where_it_may(root: bool, tmp_path: Path) -> None:
    for name, text in {"apt-get": APT, "python": PYTHON, "id": f"#!/bin/sh\necho {0 if root else 1000}\n"}.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    recipes = Path(trial.__file__).parents[3] / "recipes"
    script = f"set -euo pipefail; . {recipes}/environment.sh; try_installed python"
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert "tblite cannot be imported: libgomp.so.1" in done.stderr
    if root:
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "apt.log").read_text().splitlines()[-1].endswith("libgomp1")
    else:
        assert done.returncode == 69
        assert "hint: as root, apt-get install libgomp1" in done.stderr
