"""What is in the wheel and in the sdist, and that an installed wheel works away from the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("build", reason="needs the extra dev")
pytest.importorskip("hatchling", reason="needs the extra dev")

SHIPPED = {"site.d": "*.toml", "recipes": "*.sh"}


@pytest.fixture(scope="session")
def built(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(root)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="session")
def wheel(built: Path) -> Path:
    return next(built.glob("psiflow_cli-*.whl"))


@pytest.fixture(scope="session")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel; its dependencies are those of this one, by a path file that comes last."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps", "--no-index", str(wheel)]
    done = subprocess.run(pip, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    site_packages = next(folder.glob("lib/python*/site-packages"))
    (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


def test_the_same_source_makes_the_same_wheel(built: Path, wheel: Path, tmp_path: Path) -> None:
    """Another folder, later times of change, and other modes of new files."""
    with tarfile.open(next(built.glob("psiflow_cli-*.tar.gz"))) as archive:
        # Debian 12's Python 3.11.2 has no filters, and later ones ask for one
        trusted = {"filter": "fully_trusted"} if hasattr(tarfile, "fully_trusted_filter") else {}
        archive.extractall(tmp_path, **trusted)
    (source,) = tmp_path.iterdir()
    for path in source.rglob("*.py"):
        os.utime(path)
    command = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(tmp_path), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, umask=0o077)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / wheel.name).read_bytes() == wheel.read_bytes()


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_has_every_module(root: Path, wheel: Path) -> None:
    modules = {str(path.relative_to(root)) for path in root.glob("psiflow_cli/**/*.py")}
    assert modules <= names_in(wheel)


@pytest.mark.parametrize("folder", SHIPPED)
def test_the_wheel_carries_site_files_and_recipes(root: Path, wheel: Path, folder: str) -> None:
    shipped = {f"psiflow_cli/_shipped/{folder}/{path.name}" for path in (root / folder).glob(SHIPPED[folder])}
    assert shipped
    assert shipped <= names_in(wheel)


def test_the_wheel_installs_man_pages_by_section(root: Path, wheel: Path) -> None:
    pages = {f"share/man/man{path.suffix[1:]}/{path.name}" for path in (root / "man").glob("*.[1-9]")}
    installed = {name.partition(".data/data/")[2] for name in names_in(wheel)}
    assert pages == {name for name in installed if name.startswith("share/man/")}


def test_the_wheel_has_the_licence_and_no_tests(wheel: Path) -> None:
    names = names_in(wheel)
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    assert not any(name.startswith(("tests/", "benchmarks/")) for name in names)


def test_the_extras_are_those_promised(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        metadata = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        lines = archive.read(metadata).decode().splitlines()
    assert {line.split(": ")[1] for line in lines if line.startswith("Provides-Extra: ")} == {
        "dev",
        "dftd",
        "fairchem",
        "free-energy",
        "grace",
        "ipi",
        "mace",
        "mattersim",
        "metatomic",
        "nequip",
        "nequix",
        "orb",
        "phonons",
        "pyscf",
        "report",
        "sevennet",
        "soap",
        "xtb",
    }
    assert "Requires-Python: >=3.10" in lines


def test_the_sdist_has_what_a_build_and_a_test_run_need(built: Path) -> None:
    with tarfile.open(next(built.glob("psiflow_cli-*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    needed = {"pyproject.toml", "hatch_build.py", "constraints.txt", "LICENSE", "README.md", "CHANGELOG.md"}
    needed |= {
        "SECURITY.md",
        "CITATION.cff",
        ".pre-commit-config.yaml",
        "noxfile.py",
        "docs/back-ends.md",
        "release/Containerfile",
    }
    assert needed | {"site.d/local.toml", "recipes/quickstart.sh", "tests/run.sh", "tests/conftest.py"} <= names
    unwanted = (".venv", ".git/", "dist/", "build/")
    assert not [name for name in names if name.startswith(unwanted) or "__pycache__" in name]


def run(environment: Path, *arguments: str, cwd: Path) -> str:
    """The stdout of the installed `psiflow`, with next to no environment, away from the checkout."""
    command = [str(environment / "bin" / "psiflow"), *arguments]
    done = subprocess.run(command, cwd=cwd, env={"LC_ALL": "C"}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_installed_wheel_tells_its_version(environment: Path, wheel: Path, tmp_path: Path) -> None:
    version = wheel.name.split("-")[1]
    assert run(environment, "--version", cwd=tmp_path).strip() == f"psiflow, version {version}"


def test_an_installed_wheel_finds_its_own_site_files(root: Path, environment: Path, tmp_path: Path) -> None:
    listed = run(environment, "site", "list", cwd=tmp_path)
    assert str(environment) in listed
    assert f"{root}/" not in listed
    for path in root.glob("site.d/*.toml"):
        assert path.stem in listed


def test_an_installed_wheel_has_its_pages_and_completion(environment: Path, tmp_path: Path) -> None:
    page = environment / "share" / "man" / "man1" / "psiflow-label.1"
    assert page.exists()
    if shutil.which("man"):
        shown = subprocess.run(["man", "-P", "cat", str(page)], capture_output=True, text=True)
        assert "psiflow label" in shown.stdout
    assert "_psiflow_completion" in run(environment, "completion", "show", "bash", cwd=tmp_path)


def test_an_installed_recipe_can_be_run(environment: Path) -> None:
    (recipe,) = environment.glob("lib/python*/site-packages/psiflow_cli/_shipped/recipes/quickstart.sh")
    assert os.access(recipe, os.X_OK)
