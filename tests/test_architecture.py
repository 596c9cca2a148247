"""Who may import whom: the table of CONTRIBUTING.md, held by walking the syntax trees of the package."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "psiflow_cli"

# What every layer but the lowest may use: no click, no Parsl, no state of a run.
COMMON = {"errors", "seams", "duration", "extxyz", "registry", "console", "bundle", "toml"}
# A layer, and the parts of psiflow_cli that its files may import: a part covers what lies below it.
ALLOWED = {
    "main": {"commands", "completion", "errors", "console", "registry"},
    "completion": {"registry", "site"},
    "options": {"main", "site", "runtime", *COMMON},
    "commands": {"commands", "options", "stages", "site", "runtime", "worker.process.call", *COMMON},
    "environments": {"errors", "registry"},
    "stages": {
        "stages",
        "runtime",
        "environments",
        "site.schema",
        "site.resolve",
        "site.detect",
        "worker.process.call",
        "worker.models.compiled_cache",
        "worker.structures.convert",
        "worker.md.checkpoint",
        *COMMON,
    },
    "runtime": {
        "runtime",
        "site.schema",
        "site.resolve",
        "site.detect",
        "worker.process.call",
        "worker.process.supervisor",
        "worker.process.cpu_slot",
        "worker.process.watchdog",
        *COMMON,
    },
    "site": {"site", "environments", "registry", "errors", "seams", "duration", "toml"},
    "models": {"worker", "errors", "models.nequip"},  # which trains and runs Allegro, too
    "references": {"worker", "errors", "inputs", "bundle"},
    "samplers": {"worker", "errors", "samplers.ase", "samplers.torchsim"},  # an engine's own files, or another's
    "worker": {"worker"},
    "registry": {"errors"},
    "extxyz": {"extxyz", "errors"},
    "bundle": {"errors", "extxyz", "toml"},
    "inputs": {"errors", "toml"},
    "toml": set(),
    "errors": set(),
    "duration": set(),
    "seams": set(),
    "console": set(),
    "__init__": set(),
}
BACK_ENDS = ("models", "references", "samplers")
# Packages of the command's own process, by the layers whose files may import them when they are loaded.
LIGHT = {
    "click": {"main", "completion", "options", "commands", "console"},
    "msgspec": {"site", "runtime", "stages"},  # each provider has its table, and `sample` its file
    "tomllib": set(ALLOWED),
    "tomli": set(ALLOWED),
}
# Packages that may be absent from that process, or take long: the workers', and Parsl.
HEAVY = (
    *(
        "allegro",
        "ase",
        "chemiscope",
        "dftd3",
        "dftd4",
        "dscribe",
        "e3nn",
        "gpaw",
        "hydra",
        "ipi",
        "lightning",
        "mace",
        "matplotlib",
        "nequip",
    ),
    *("numpy", "omegaconf", "parsl", "phonopy", "plumed", "psi4", "pyscf", "scipy", "spglib"),
    *("tblite", "torch", "torch_sim"),
)


class Import(NamedTuple):
    """One imported module, seen in a file."""

    file: Path
    line: int
    name: str
    top: bool
    """Runs when the file is imported."""

    @property
    def layer(self) -> str:
        return self.file.relative_to(PACKAGE).parts[0].removesuffix(".py")

    def __str__(self) -> str:
        return f"{self.file.relative_to(ROOT)}:{self.line}: imports {self.name}"


def imports(file: Path) -> Iterator[Import]:
    """Every import in a file, with `from package import module` resolved to the module."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    late = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)) or _for_types_only(node)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: relative imports hide who imports whom"
            names = [_module(node.module or "", alias.name) for alias in node.names]
        else:
            continue
        for name in names:
            yield Import(file, node.lineno, name, id(node) not in late)


def _for_types_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _module(package: str, name: str) -> str:
    path = ROOT.joinpath(*package.split("."), name)
    return f"{package}.{name}" if path.is_dir() or path.with_suffix(".py").is_file() else package


ALL = [found for file in sorted(PACKAGE.rglob("*.py")) for found in imports(file)]
OURS = [found for found in ALL if found.name.split(".")[0] == "psiflow_cli"]
OTHERS = [found for found in ALL if found.name.split(".")[0] not in {"psiflow_cli", *sys.stdlib_module_names}]


def report(offences: list[Import]) -> None:
    assert not offences, "\n" + "\n".join(map(str, offences))


def test_the_walk_sees_the_package() -> None:
    assert any(found.layer == "runtime" and found.name.startswith("parsl") for found in OTHERS)
    assert any(found.layer == "main" and found.name.startswith("psiflow_cli.commands.") for found in OURS)


def test_every_file_belongs_to_a_layer() -> None:
    layers = {file.relative_to(PACKAGE).parts[0].removesuffix(".py") for file in PACKAGE.rglob("*.py")}
    assert layers == set(ALLOWED)


def test_layers_import_downwards_only() -> None:
    report([found for found in OURS if not _may(found)])


def _may(found: Import) -> bool:
    part = found.name.removeprefix("psiflow_cli").removeprefix(".")
    allowed = ALLOWED[found.layer] | _own(found)
    return part == "" or any(part == name or part.startswith(f"{name}.") for name in allowed)


def _own(found: Import) -> set[str]:
    """A back end that is a package may import its own files."""
    parts = found.file.relative_to(PACKAGE).parts
    return {".".join(parts[:2])} if found.layer in BACK_ENDS and len(parts) > 2 else set()


def test_parsl_is_imported_by_the_runtime_only() -> None:
    report([found for found in OTHERS if found.name.split(".")[0] == "parsl" and found.layer != "runtime"])


def test_stages_know_nothing_of_the_command_line() -> None:
    report([found for found in OTHERS if found.name.split(".")[0] == "click" and found.layer == "stages"])


def test_the_top_of_a_file_imports_nothing_heavy() -> None:
    report([found for found in OTHERS if found.top and found.name.split(".")[0] in HEAVY])


def test_the_top_of_a_back_end_imports_the_standard_library_only() -> None:
    report([found for found in OTHERS if found.top and found.layer in (*BACK_ENDS, "worker")])


def test_the_top_of_the_other_files_imports_light_packages_only() -> None:
    report([found for found in OTHERS if found.top and found.layer not in LIGHT.get(found.name.split(".")[0], set())])


def test_the_version_module_imports_nothing() -> None:
    assert not list(imports(PACKAGE / "__init__.py"))


COMMANDS = sorted(path.stem.replace("_", "-") for path in (PACKAGE / "commands").glob("[!_]*.py"))
PROBE = """
import sys
from psiflow_cli.main import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    code = end.code
print()
print(*{name.split(".")[0] for name in sys.modules})
sys.exit(code)
"""


@pytest.mark.parametrize("arguments", ["--help", "status", *(f"{name} --help" for name in COMMANDS)])
def test_help_and_status_load_nothing_heavy(arguments: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROBE, *arguments.split()]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert not set(HEAVY) & set(done.stdout.splitlines()[-1].split())
