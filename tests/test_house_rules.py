"""The house rules of CONTRIBUTING.md that a syntax tree can show: sizes, parameters, types, exit codes."""

from __future__ import annotations

import ast
import functools
import keyword
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TypeGuard

import pytest

from tests import any_types

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "psiflow_cli"
FILES = sorted(PACKAGE.rglob("*.py"))
FOLDERS = sorted({file.parent for file in FILES})

MOST_FILES = 14
"""In a folder; `__init__.py` says what the others are, and is not counted."""
MOST_LINES = 300
MOST_PARAMETERS = 8
MOST_ANY = 0.10
"""Share of the signatures with annotations that hold `Any`, or an alias of something with `Any` in it."""
EXIT_CODES = {65, 66, 69, 70, 73, 74, 75, 78}
Function = ast.FunctionDef | ast.AsyncFunctionDef


@functools.cache
def trees() -> dict[Path, ast.Module]:
    """The syntax trees of the package."""
    return {file: ast.parse(file.read_text(encoding="utf-8")) for file in FILES}


def at(file: Path, node: ast.AST) -> str:
    return f"{file.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}"


def report(offences: list[str]) -> None:
    assert not offences, "\n" + "\n".join(offences)


def functions() -> Iterator[tuple[Path, Function]]:
    for file, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, Function):
                yield file, node


def calls(*parts: str) -> Iterator[tuple[Path, ast.Call]]:
    """Every call in those parts of the package; in all of it without `parts`."""
    for file, tree in trees().items():
        if not parts or file.relative_to(PACKAGE).parts[0] in parts:
            yield from ((file, node) for node in ast.walk(tree) if isinstance(node, ast.Call))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.relative_to(ROOT)))
def test_a_folder_has_few_files(folder: Path) -> None:
    names = [file.name for file in FILES if file.parent == folder and file.name != "__init__.py"]
    assert len(names) <= MOST_FILES, f"{len(names)} files, more than {MOST_FILES}: make rooms in it"


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.relative_to(ROOT)))
def test_a_folder_says_in_a_sentence_or_two_what_lives_there(folder: Path) -> None:
    """In the first paragraph; units, sources and errors may follow."""
    assert folder / "__init__.py" in FILES, "no __init__.py"
    said = (ast.get_docstring(trees()[folder / "__init__.py"]) or "").partition("\n\n")[0]
    assert 1 <= len(re.findall(r"[.!?](?=\s|$)", said)) <= 2, f"not a sentence or two: {said!r}"


def test_files_are_short() -> None:
    lines = {file: file.read_text(encoding="utf-8").count("\n") for file in FILES}
    report([f"{at(file, trees()[file])}: {count} lines" for file, count in lines.items() if count > MOST_LINES])


def test_functions_take_few_parameters() -> None:
    """What belongs together is a dataclass; a click callback has a parameter for each option."""
    counted = [(file, node, _parameters(node)) for file, node in functions() if not _is_callback(file, node)]
    report([f"{at(file, node)}: {node.name} takes {n}" for file, node, n in counted if n > MOST_PARAMETERS])


def _parameters(node: Function) -> int:
    arguments = node.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    variable = (arguments.vararg, arguments.kwarg)
    return sum(each.arg not in ("self", "cls") for each in named) + sum(each is not None for each in variable)


def _is_callback(file: Path, node: Function) -> bool:
    decorators = [ast.unparse(each) for each in node.decorator_list]
    command = node.name == "command" and file.parent.parent.name == "commands"
    return command or any(each.startswith(("click.", "options.", "main.")) for each in decorators)


def test_signatures_say_what_they_take_and_give() -> None:
    share, worst = any_types.share(trees(), PACKAGE)
    listed = "\n".join(f"{count:4} of {of:3} {file.relative_to(ROOT)}" for file, count, of in worst[:25])
    assert share < MOST_ANY, f"Any in {share:.1%} of the signatures, not below {MOST_ANY:.0%}; most in\n{listed}"


def test_an_alias_is_seen_through(tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    texts = {
        "__init__": "from package.types import Loose as Public\nfrom package.types import *",
        "types": "from typing import Any\nLoose = dict[str, Any]\nTight = dict[str, int]",
        "user": "from package import Loose, Public, types\nOwn = list[Public]\ndef e(x: Loose): ...\n"
        "def a(x: Own): ...\ndef b() -> types.Loose: ...\ndef c(x: 'Public'): ...\ndef d(x: types.Tight) -> int: ...",
    }
    for name, text in texts.items():
        (package / f"{name}.py").write_text(text)
    share, worst = any_types.share({file: ast.parse(file.read_text()) for file in package.glob("*.py")}, package)
    assert share == 4 / 5
    assert worst == [(package / "user.py", 4, 5)]


def test_nobody_calls_a_dictionary_wire() -> None:
    report(
        [at(file, node) for file, tree in trees().items() for node in tree.body if "Wire" in any_types.assigned(node)]
    )


def test_messages_are_types_and_nothing_else() -> None:
    messages = {file: tree for file, tree in trees().items() if file.is_relative_to(PACKAGE / "messages")}
    classes = {node.name: node for tree in messages.values() for node in tree.body if isinstance(node, ast.ClassDef)}
    bases = {name: {ast.unparse(base) for base in node.bases} for name, node in classes.items()}
    strange = [name for name in classes if not bases[name] or not bases[name] <= {"TypedDict", *classes}]
    assert not strange, f"neither a TypedDict nor made from one: {strange}"
    allowed = (ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.ClassDef, ast.If, ast.Expr)
    statements = [(file, node) for file, tree in messages.items() for node in tree.body]
    statements += [(file, node) for file, tree in messages.items() for _, node in _within(tree)]
    report(
        [f"{at(file, node)}: {ast.unparse(node)[:60]}" for file, node in statements if not isinstance(node, allowed)]
    )
    types = {id(node.value) for tree in messages.values() for node in tree.body if _is_typed_dict(node)}
    called = [(file, node) for file, tree in messages.items() for node in ast.walk(tree) if isinstance(node, ast.Call)]
    report([f"{at(file, node)}: calls {ast.unparse(node)[:60]}" for file, node in called if id(node) not in types])


def _is_typed_dict(node: ast.stmt) -> TypeGuard[ast.Assign]:
    """Is it `Name = TypedDict("Name", {"key": type, …})`, with a key that cannot be an attribute, such as `with`?"""
    made = node.value if isinstance(node, ast.Assign) else None
    if not isinstance(made, ast.Call) or ast.unparse(made.func) != "TypedDict" or len(made.args) != 2:
        return False
    name, fields = made.args
    if not isinstance(name, ast.Constant) or not isinstance(fields, ast.Dict):
        return False
    keys = [key.value if isinstance(key, ast.Constant) else None for key in fields.keys]
    is_needed = any(isinstance(key, str) and keyword.iskeyword(key) for key in keys)
    return is_needed and [name.value] == any_types.assigned(node) and {each.arg for each in made.keywords} <= {"total"}


def _within(tree: ast.Module) -> Iterator[tuple[ast.stmt, ast.stmt]]:
    """What classes and `if TYPE_CHECKING` hold, with who holds it."""
    for node in tree.body:
        if isinstance(node, (ast.ClassDef, ast.If)):
            yield from ((node, inner) for inner in node.body)


def test_what_a_back_end_can_is_asked_with_a_protocol() -> None:
    """`isinstance(module, Renders)` is checked by mypy and has a docstring; a name in quotes has neither."""
    asked = [(file, node) for file, node in calls("stages", "commands") if _is_capability_check(node)]
    report([f"{at(file, node)}: {ast.unparse(node)}" for file, node in asked])


def _is_capability_check(node: ast.Call) -> bool:
    function = ast.unparse(node.func)
    if function != "hasattr" and not (function == "getattr" and len(node.args) == 3):
        return False
    return bool(re.search(r"\b(module|family|registry\.load)\b", ast.unparse(node.args[0])))


def test_exit_codes_have_names() -> None:
    """`errors.BAD_DATA`, not 65; the file of errors is where the numbers are."""
    given = [(file, node) for file, node in calls() if any(map(_is_code, _codes(node)))]
    offences = [f"{at(file, node)}: {ast.unparse(node)[:100]}" for file, node in given]
    defaults = [(file, node) for file, node in functions() if any(map(_is_code, _defaults(node)))]
    offences += [f"{at(file, node)}: {node.name} has one for a default" for file, node in defaults]
    report([each for each in offences if not each.startswith("psiflow_cli/errors.py:")])


def test_temporary_folders_have_owners() -> None:
    """Python's own are left by a killed process, and nobody knows whose they were."""
    standalone = {"worker/pool/temporary_folders.py", "worker/formats/convert.py"}  # this one runs without the package
    made = [(file, node) for file, node in calls() if ast.unparse(node.func) == "tempfile.TemporaryDirectory"]
    made = [(f, n) for f, n in made if f.relative_to(PACKAGE).as_posix() not in standalone]
    # a socket's path must be short
    report([at(f, n) for f, n in made if f.name != "sharing.py"])


def _codes(node: ast.Call) -> list[ast.expr]:
    """The arguments of a call that can be exit codes."""
    named = [keyword.value for keyword in node.keywords if keyword.arg == "exit_code"]
    return [*node.args, *named] if re.search(r"(Fatal|Error|Exit|\bexit)$", ast.unparse(node.func)) else named


def _defaults(node: Function) -> list[ast.expr]:
    """The default of the parameter `exit_code`."""
    arguments = [*node.args.posonlyargs, *node.args.args]
    named = zip(reversed(arguments), reversed(node.args.defaults), strict=False)
    keywords = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
    return [default for argument, default in (*named, *keywords) if default and argument.arg == "exit_code"]


def _is_code(node: ast.expr) -> bool:
    """Is it, or can it be, the number of an exit code?"""
    if isinstance(node, ast.IfExp):
        return _is_code(node.body) or _is_code(node.orelse)
    return isinstance(node, ast.Constant) and type(node.value) is int and node.value in EXIT_CODES
