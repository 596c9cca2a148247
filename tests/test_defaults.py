"""Default values of options: which place wins, how repeated options are joined, and what is said of wrong ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest

from psiflow_cli import formats, options
from psiflow_cli.errors import BadConfig, PsiflowError, UsageError
from psiflow_cli.values import kinds
from tests.commands.springs import SITE


@click.group()
def root() -> None:
    """Nothing."""


@root.command("work", cls=options.Command)
@options.settings
@options.texts("--exclude", "FILE", "Files.")
@options.count("--members", 1, "A number.")
@options.flag("--trust", "A flag.")
@options.text("--arch", None, "NAME", "A text.")
@options.text("--input", None, "FILE", "A text.")
@click.option("--verbose", count=True)
@click.option("--output", type=kinds.Output(formats.FRAMES))
@click.option("--site", default="local")
def work(**values: Any) -> dict[str, Any]:
    if values["input"]:
        raise UsageError("it reads no file", "leave out --input")
    if "bad" in values["settings"]:
        raise UsageError("bad: no such setting", "leave it out")
    return values


@root.group("below", cls=options.Group)
def below() -> None:
    """Nothing."""


@below.command("deep")
@options.count("--number", 1, "A number.")
def deep(number: int) -> int:
    return number


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PSIFLOW_SITE", raising=False)
    monkeypatch.delenv("PSIFLOW_ROUND", raising=False)


def run(arguments: str, project: str = "", site: str = "") -> Any:
    Path("psiflow.toml").write_text(project)
    Path("local.toml").write_text(SITE + site)
    words = [word.strip("'") for word in arguments.split()]
    return root.main(words, standalone_mode=False)


@pytest.mark.parametrize(
    ("arguments", "project", "site", "settings"),
    [
        ("", "set = ['a=1', 'b=2']", "set = ['a=0', 'c=0']", {"a": "1", "b": "2", "c": "0"}),
        ("--set a=3", "set = ['a=1', 'b=2']", "", {"a": "3", "b": "2"}),
        ("--set b=2 --set a=1", "set = ['a=1', 'b=3']", "", {"a": "1", "b": "2"}),
        ("--set a=1 --set a=2 --set a=1", "set = ['a=2']", "", {"a": "1"}),
        ("--set a=", "set = ['a=1', 'b=2']", "set = ['a=0']", {"b": "2"}),
        ("--set '' --set d=4", "set = ['a=1']", "set = ['c=0']", {"d": "4"}),
        ("--set d=4 --set=", "set = ['a=1']", "", {}),
        ("", "set = ['', 'a=1']", "set = ['c=0']", {"a": "1"}),
        ("", "set = ['a=']", "set = ['a=0', 'c=0']", {"c": "0"}),
        ("", "set = []", "set = ['c=0']", {"c": "0"}),
        ("", "set = 'a=1'", "", {"a": "1"}),
        ("", "set = {a = 1, b.c = 2.5, b.d = [1, 2], e = true, f = 'x y'}", "", {
            "a": "1", "b.c": "2.5", "b.d": "[1, 2]", "e": "true", "f": "x y",
        }),
        ("--set b.c=3", "[work.set]\na = 1\nb.c = 2", "[defaults.work.set]\na = 0\nb.e = 5", {
            "a": "1", "b.c": "3", "b.e": "5",
        }),
    ],
)  # fmt: skip
def test_settings_are_joined_by_key(arguments: str, project: str, site: str, settings: dict[str, str]) -> None:
    texts = [
        text if text.startswith("[") or not text else head + text
        for head, text in (("[work]\n", project), ("[defaults.work]\n", site))
    ]
    assert run(f"work {arguments}", *texts)["settings"] == settings


def test_other_repeated_options_are_joined_and_single_ones_replaced() -> None:
    project = "[work]\nexclude = ['a', 'b']\nmembers = 2\ntrust = true\n"
    site = "[defaults.work]\nexclude = ['s', 'b']\nmembers = 3\narch = 'mace'\n"
    found = {key: value for key, value in run("work --exclude c --exclude a", project, site).items() if value}
    assert found == {
        "exclude": ("s", "b", "c", "a"), "members": 2, "trust": True, "arch": "mace", "site": "local",
    }  # fmt: skip
    assert run("work --exclude= --exclude c --members 5", project, site)["exclude"] == ("c",)
    assert run("work", project, site)["exclude"] == ("s", "a", "b")
    assert run("work --members 5", project, site)["members"] == 5


def test_a_command_below_a_group_has_a_table() -> None:
    assert run("below deep", "[below.deep]\nnumber = 4\n") == 4
    assert run("below deep --number 5", "[below.deep]\nnumber = 4\n") == 5


@pytest.mark.parametrize(
    ("arguments", "project", "site", "what"),
    [
        ("work", "[work]\nmembers = 0\n", "", "psiflow.toml: [work] members: must be at least 1, not 0"),
        ("work", "", "[defaults.work]\nmembers = 'x'\n", "local.toml: [defaults.work] members: 'x'"),
        ("work --members 2", "[work]\nmembers = [1]\n", "", "psiflow.toml: [work] members: takes one value"),
        ("work", "[work]\narch = true\n", "", "psiflow.toml: [work] arch: takes a value, not true or false"),
        ("work", "[work]\ntrust = 1.5\n", "", "psiflow.toml: [work] trust: '1.5' is not a valid boolean"),
        ("work", "[work]\nverbose = 1979-05-27\n", "", "psiflow.toml: [work] verbose: '1979-05-27' is not a"),
        ("work", "[work]\noutput = 1\n", "", "psiflow.toml: [work] output: --output 1: this is not the name of"),
        ("work", "[work]\ninput = 1\n", "", "psiflow.toml: [work] input: it reads no file"),
        ("work", "[work]\nset = ['a']\n", "", "psiflow.toml: [work] set: 'a' is not KEY=VALUE"),
        ("work", "[work]\nset = [true]\n", "", "psiflow.toml: [work] set: must be a list of texts"),
        ("work", "[work]\nexclude = {a = 1}\n", "", "psiflow.toml: [work] exclude: must be a list of texts"),
        ("work", "[work]\nset = ['bad=1']\n", "", "psiflow.toml: [work] set: bad: no such setting"),
        ("work", "", "[defaults.work]\nset = ['bad=1']\n", "local.toml: [defaults.work] set: bad: no such setting"),
        ("below deep", "[below.dep]\nnumber = 1\n", "", "psiflow.toml: [below.dep]: no such command"),
        ("below deep", "[below.deep]\nnumbr = 1\n", "", "psiflow.toml: [below.deep] numbr: unknown option"),
        ("work", "members = 1\n", "", "psiflow.toml: members: is in no command's table (line 1)"),
        ("below deep", "[below]\nnumber = 1\n", "", "psiflow.toml: below.number: is in no command's table"),
        ("below deep", "below = 1\n", "", "psiflow.toml: below: must be a table"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(arguments: str, project: str, site: str, what: str) -> None:
    with pytest.raises(BadConfig) as error:
        run(arguments, project, site)
    assert what in error.value.message


def test_what_was_typed_is_not_blamed_on_a_file() -> None:
    with pytest.raises(PsiflowError) as error:
        run("work --set bad=2", "[work]\nset = ['bad=1']\n")
    assert error.value.message == "bad: no such setting"


def test_settings_of_one_round_win_in_that_round(monkeypatch: pytest.MonkeyPatch) -> None:
    project = "[work]\nmembers = 2\nset = ['a=1', 'b=1']\n[work.round-3]\nmembers = 5\nset = ['b=2']\n[work.round-0]\n"
    assert run("work", project)["members"] == 2
    monkeypatch.setenv("PSIFLOW_ROUND", "3")
    found = run("work", project)
    assert (found["members"], found["settings"]) == (5, {"a": "1", "b": "2"})
    assert run("work --members 7", project)["members"] == 7
    assert run("below deep", "[below.deep.round-3]\nnumber = 4\n") == 4
    monkeypatch.setenv("PSIFLOW_ROUND", "4")
    assert run("work", project)["members"] == 2


@pytest.mark.parametrize(
    ("number", "project", "what"),
    [
        ("", "[work.round-3]\nmember = 5\n", "psiflow.toml: [work.round-3] member: unknown option (line 2)"),
        ("1", "[work.round-3]\nmembers = 0\n", "psiflow.toml: [work.round-3] members: must be at least 1, not 0"),
        ("3", "[work.round-3]\nset = ['bad=1']\n", "psiflow.toml: [work.round-3] set: bad: no such setting (line 2)"),
        ("3", "[work]\nround-3 = 1\n", "psiflow.toml: [work] round-3: unknown option"),
        ("3", "[work.rund-3]\nmembers = 1\n", "psiflow.toml: [work] rund-3: unknown option"),
        ("three", "", "$PSIFLOW_ROUND=three: must be a whole number"),
    ],
)
def test_what_is_wrong_in_the_settings_of_a_round_is_named(
    monkeypatch: pytest.MonkeyPatch, number: str, project: str, what: str
) -> None:
    monkeypatch.setenv("PSIFLOW_ROUND", number)
    with pytest.raises(BadConfig) as error:
        run("work", project)
    assert what in error.value.message
