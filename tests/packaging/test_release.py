"""What a release is made from agrees with pyproject.toml, and the clone line works once the address is known."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

import psiflow_cli
from psiflow_cli import toml

requirements = pytest.importorskip("packaging.requirements", reason="needs packaging")
CLONES = ("README.md", "docs/install.md", "docs/tutorial-cluster.md")


def test_the_conda_package_is_that_of_pyproject(root: Path) -> None:
    recipe = yaml.safe_load((root / "release" / "recipe.yaml").read_text(encoding="utf-8"))
    project = toml.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert recipe["context"]["version"] == psiflow_cli.__version__
    assert recipe["build"]["python"]["entry_points"] == [f"{k} = {v}" for k, v in project["scripts"].items()]
    assert recipe["about"]["summary"] == project["description"]
    needed = {r.name: r.specifier for r in map(requirements.Requirement, project["dependencies"])}
    needed["python"] = requirements.SpecifierSet(project["requires-python"])
    stated = [requirements.Requirement(line.replace(" ", "")) for line in recipe["requirements"]["run"]]
    assert {each.name: each.specifier for each in stated} == needed


def test_the_tool_that_builds_the_conda_package_reads_its_recipe(root: Path) -> None:
    rattler_build = pytest.importorskip("rattler_build", reason="needs py-rattler-build")
    (variant,) = rattler_build.Stage0Recipe.from_file(str(root / "release" / "recipe.yaml")).render()
    assert (variant.recipe.package.name, variant.recipe.package.version) == ("psiflow-cli", psiflow_cli.__version__)
    assert variant.recipe.build.noarch == "python"
    assert "python >=3.10" in variant.recipe.requirements.run


def test_the_container_copies_what_is_there(root: Path) -> None:
    text = (root / "release" / "Containerfile").read_text(encoding="utf-8")
    copied = [name for line in re.findall(r"^COPY (.+)$", text, re.MULTILINE) for name in line.split()[:-1]]
    assert {"psiflow_cli", "recipes", "constraints.txt"} <= set(copied)
    assert all((root / name).exists() for name in copied)


def test_the_address_is_said_once_and_then_cloned_from(root: Path, tmp_path: Path) -> None:
    """Every line that clones, run as it stands in a home of its own."""
    there = tmp_path / "there"
    for name in (*CLONES, "pyproject.toml", "CITATION.cff", "release/address.sh"):
        (there / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / name, there / name)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "all"]):
        subprocess.run([*git, *words], cwd=there, check=True)
    for address in ("https://example.org/psiflow.git", f"file://{there}"):  # said again, it is the new one
        subprocess.run([there / "release" / "address.sh", address], check=True)
    assert toml.loads((there / "pyproject.toml").read_text())["project"]["urls"] == {"Repository": address}
    assert yaml.safe_load((there / "CITATION.cff").read_text())["repository-code"] == address
    for number, name in enumerate(CLONES):
        (line,) = (line for line in (there / name).read_text().splitlines() if line.startswith("git clone "))
        home = tmp_path / str(number)
        home.mkdir()
        subprocess.run(["bash", "-ec", line], cwd=home, env={"HOME": str(home), "PATH": "/usr/bin:/bin"}, check=True)
        assert (home / "psiflow" / "README.md").exists()
