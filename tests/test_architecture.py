"""Who may import whom: the table of CONTRIBUTING.md, held by walking the syntax trees of the package."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "psiflow_cli"


class Part(NamedTuple):
    """A row of the table in CONTRIBUTING.md."""

    may: set[str]
    packages: set[str]


def _table() -> dict[str, Part]:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \|([^|]*)\|([^|]*)\|$", text, re.MULTILINE)
    return {part: Part(set(re.findall(r"`([\w.]+)`", may)), set(re.findall(r"\w+", tops))) for part, may, tops in rows}


TABLE = _table()
BACK_ENDS = ("models", "potentials", "references", "samplers")
VARIANTS = {
    "models.allegro": {"models.nequip"},
    "samplers.ipi": {"samplers.ase", "samplers.torchsim"},
    "samplers.torchsim": {"samplers.ase"},
}
"""Back ends that share files with another one."""
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
        "fairchem",
        "gpaw",
        "hydra",
        "ipi",
        "lightning",
        "mace",
        "matplotlib",
        "mattersim",
        "metatomic",
        "nequip",
        "nequix",
    ),
    *("numpy", "omegaconf", "orb_models", "parsl", "phonopy", "plumed", "psi4", "pyscf", "scipy", "sevenn", "spglib"),
    *("tblite", "tensorpotential", "torch", "torch_sim"),
)


class Import(NamedTuple):
    """One imported module, seen in a file."""

    file: Path
    line: int
    name: str
    top: bool
    """Runs when the file is imported."""
    types: bool
    """Under TYPE_CHECKING: never runs."""

    @property
    def layer(self) -> str:
        return self.file.relative_to(PACKAGE).parts[0].removesuffix(".py")

    def __str__(self) -> str:
        return f"{self.file.relative_to(ROOT)}:{self.line}: imports {self.name}"


def imports(file: Path) -> Iterator[Import]:
    """Every import in a file, with `from package import module` resolved to the module."""
    for node, top, types in _nodes(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: relative imports hide who imports whom"
            names = [_module(node.module or "", alias.name) for alias in node.names]
        else:
            continue
        for name in names:
            yield Import(file, node.lineno, name, top, types)


def _nodes(node: ast.AST, top: bool = True, types: bool = False) -> Iterator[tuple[ast.AST, bool, bool]]:
    """What is below a node: whether it runs when the file is imported, and whether it is for types only."""
    yield node, top, types
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
        top, types = False, True
    elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        top = False
    for inner in ast.iter_child_nodes(node):
        if not isinstance(inner, ast.expr):  # which imports nothing
            yield from _nodes(inner, top, types)


def _module(package: str, name: str) -> str:
    path = ROOT.joinpath(*package.split("."), name)
    return f"{package}.{name}" if path.is_dir() or path.with_suffix(".py").is_file() else package


@functools.cache
def ours() -> list[Import]:
    """Where the package imports its own modules; read when a test asks, since all processes collect this file."""
    return [found for found in _all() if found.name.split(".")[0] == "psiflow_cli"]


@functools.cache
def others() -> list[Import]:
    """Where it imports those of other packages than Python's own."""
    return [found for found in _all() if found.name.split(".")[0] not in {"psiflow_cli", *sys.stdlib_module_names}]


@functools.cache
def _all() -> list[Import]:
    return [found for file in sorted(PACKAGE.rglob("*.py")) for found in imports(file)]


def report(offences: list[Import]) -> None:
    assert not offences, "\n" + "\n".join(map(str, offences))


def test_the_walk_sees_the_package() -> None:
    assert any(found.layer == "runtime" and found.name.startswith("parsl") for found in others())
    assert any(found.layer == "main" and found.name.startswith("psiflow_cli.commands.") for found in ours())


def test_every_file_belongs_to_a_layer() -> None:
    layers = {file.relative_to(PACKAGE).parts[0].removesuffix(".py") for file in PACKAGE.rglob("*.py")}
    assert layers - {"__init__"} == set(TABLE)


def test_layers_import_downwards_only() -> None:
    report([found for found in ours() if not _may(found)])


def _may(found: Import) -> bool:
    part = found.name.removeprefix("psiflow_cli").removeprefix(".")
    parts = found.file.relative_to(PACKAGE).with_suffix("").parts
    own = {found.layer}
    if found.layer in BACK_ENDS:
        back_end = ".".join(parts[:2])
        own = {back_end} | VARIANTS.get(back_end, set())
    return part == "" or any(part == name or part.startswith(f"{name}.") for name in TABLE[found.layer].may | own)


def test_nobody_imports_in_a_circle() -> None:
    """Imports inside functions and for types count: a ring of files cannot be understood one by one."""
    graph: dict[str, set[str]] = {}
    for each in ours():
        own = ".".join(each.file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        graph.setdefault(own, set()).add(each.name)
    assert not _circles(graph)


def _circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The strongly connected components of more than one module (Tarjan, SIAM J. Comput. 1, 146 (1972))."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    circles = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in graph.get(node, ()):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            at = stack.index(node)
            ring = stack[at:]
            del stack[at:]
            if len(ring) > 1:
                circles.append(sorted(ring))

    for node in list(graph):
        if node not in index:
            visit(node)
    return circles


def test_parsl_is_imported_by_the_runtime_only() -> None:
    parsl = [found for found in others() if found.name.split(".")[0] == "parsl" and found.layer != "runtime"]
    types = PACKAGE / "protocols" / "runtime.py"  # names Parsl's types, and imports none when it runs
    assert "\nif TYPE_CHECKING:\n" in types.read_text().split("import parsl")[0].split("from parsl")[0]
    report([found for found in parsl if found.file != types or found.top])


def test_stages_know_nothing_of_the_command_line() -> None:
    report([found for found in others() if found.name.split(".")[0] == "click" and found.layer == "stages"])


def test_the_top_of_a_file_imports_nothing_heavy() -> None:
    report([found for found in others() if found.top and found.name.split(".")[0] in HEAVY])


def test_the_top_of_a_back_end_imports_the_standard_library_only() -> None:
    report([found for found in others() if found.top and found.layer in (*BACK_ENDS, "worker")])


def test_the_top_of_the_other_files_imports_light_packages_only() -> None:
    report([found for found in others() if found.top and found.name.split(".")[0] not in TABLE[found.layer].packages])


def test_messages_are_imported_for_types_only() -> None:
    messages = [each for each in ours() if f"{each.name}.".startswith("psiflow_cli.messages.")]
    assert messages
    report([each for each in messages if each.layer != "messages" and not each.types])


def test_the_version_module_imports_nothing() -> None:
    assert not list(imports(PACKAGE / "__init__.py"))


ROOMS = [room for room in (PACKAGE / "commands").iterdir() if room.name not in ("shared", "__pycache__")]
COMMANDS = sorted(path.stem.replace("_", "-") for room in ROOMS for path in room.glob("[!_]*.py"))
PROBE = """
import sys
from psiflow_cli.main import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    code = end.code
print()
print(*{name.split(".")[0] for name in sys.modules}, *sys.modules)
sys.exit(code)
"""


@pytest.mark.parametrize("arguments", ["--help", "status", *(f"{name} --help" for name in COMMANDS)])
def test_help_and_status_load_nothing_heavy(arguments: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROBE, *arguments.split()]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.splitlines()[-1].split())
    assert not set(HEAVY) & loaded
    assert not {"psiflow_cli.worker.models", "psiflow_cli.potentials"} & loaded, "what only workers need"


def test_the_tables_name_files_that_exist() -> None:
    """What is passed from argv to the disk, and where to change what."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    tables = text.partition("## From the command line to the disk")[2].partition("## Style")[0]
    named = set(re.findall(r"`([\w/]+(?:\.py|/))`", tables)) - {"pool/"}
    assert len(named) > 40
    assert not [name for name in sorted(named) if not any((top / name).exists() for top in (PACKAGE, ROOT))]
