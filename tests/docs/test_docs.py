"""Every command line of the README and of docs/ is one that can be typed, and does what the page says."""

from __future__ import annotations

import inspect
import re
import shlex
import sys
from pathlib import Path

import click
import pytest

from psiflow_cli import protocols, registry
from psiflow_cli.main import main
from tests import warm
from tests.commands.springs import SITE
from tests.conftest import ROOT
from tests.docs.blocks import blocks, commands, figures, play, shape

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
# Values that a user's work needs, and a test does not.
SHORTER = {
    r"-n 100\b": "-n 20",
    r"-n 20 --by": "-n 4 --by",
    r"--steps 2000\b": "--steps 200",
    r"(psiflow train (?:.*\\\n)*.*)": r"\1 --set max_num_epochs=8 --set num_channels=8 --set max_L=0 --set r_max=4.0",
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_options_and_commands_are_there(page):
    for block in blocks(page):
        if block.language in ("sh", "console"):
            for words in commands(block):
                command, context = main, None
                while isinstance(command, click.Group) and words and not words[0].startswith("-"):
                    assert words[0] in command.commands, f"{page.name}:{block.line}: no command {words[0]}"
                    command, words = command.commands[words[0]], words[1:]
                try:  # of click itself: no defaults of a site that is not here
                    context = click.Command.make_context(command, command.name, list(words))
                except click.exceptions.NoArgsIsHelpError:
                    continue
                except click.UsageError as error:
                    pytest.fail(f"{page.name}:{block.line}: {' '.join(words)}: {error.format_message()}")
                except click.exceptions.Exit:
                    continue
                context.close()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_in_the_text_are_there(page):
    """What stands between words need not be whole, but its command and its options are real."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for span in re.findall(r"`psiflow ([^`]+)`", text):
        command, words = main, shlex.split(span)
        while isinstance(command, click.Group) and words and words[0].islower() and not words[0].startswith("-"):
            assert words[0] in command.commands, f"{page.name}: psiflow {span}: no command {words[0]}"
            command, words = command.commands[words[0]], words[1:]
        params = command.get_params(click.Context(command))
        known = {name for param in params for name in (*param.opts, *param.secondary_opts)}
        unknown = {word.partition("=")[0] for word in words if word.startswith("-") and word != "-"} - known
        assert not unknown, f"{page.name}: psiflow {span}: no {', '.join(unknown)}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_is_not_run_says_why_and_is_little(page):
    shown = [block for block in blocks(page) if block.language in ("sh", "console")]
    assert all(block.runs or len(block.mark) > len("not run: ") for block in shown)
    assert sum(not block.runs for block in shown) <= 5


def surroundings(folder):
    """A `psiflow` on PATH whose imports are done, and tasks in its own threads."""
    server = warm.server("matplotlib.pyplot", "tblite.ase")
    server.program(folder / "psiflow", str(Path(sys.executable).with_name("psiflow")))
    (folder / "threads.toml").write_text(SITE)
    path = f"{folder}:{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
    return {"PATH": path, "PSIFLOW_SITE": str(folder / "threads.toml"), "COLUMNS": "88"}


def compare(played):
    """What a block prints is what the page says, but for numbers; `varies`: its first line is."""
    if played.output and not played.shortened:
        expected, printed = shape(played.output.text), shape(played.printed)
        if "varies" not in played.output.mark:
            assert printed == expected
        assert played.printed


HERE = [page for page in PAGES if "cluster" not in page.stem]
LONG = [page for page in HERE if any(block.mark.startswith("full") for block in blocks(page))]


@pytest.mark.parametrize("page", HERE, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_blocks_run(page, tmp_path, tmp_path_factory):
    pytest.importorskip("tblite", reason="needs the extra xtb")
    if any(block.is_due(full=False) for block in blocks(page)):
        for played in play(page, tmp_path, surroundings(tmp_path_factory.mktemp("site")), full=False, shorter=SHORTER):
            compare(played)


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("page", LONG, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_long_blocks_run_too(page, tmp_path, tmp_path_factory):
    pytest.importorskip("mace", reason="needs the extra mace")
    pytest.importorskip("tblite", reason="needs the extra xtb")
    environment = surroundings(tmp_path_factory.mktemp("site"))
    for played in play(page, tmp_path, environment, full=True, shorter=SHORTER):
        compare(played)
    if all(block.is_due(full=True) for block in blocks(page) if block.runs):
        assert all((tmp_path / name).stat().st_size for name in figures(page))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_figures_are_there_and_small(page):
    for name in figures(page):
        assert 0 < (ROOT / "docs" / "figures" / name).stat().st_size <= 60_000


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        ("argon.py", "references"),
        ("ideal_gas.py", "models"),
        ("at_rest.py", "samplers"),
        ("desks.py", "runtime.providers"),
        ("here.py", "runtime.executors"),
    ],
)
def test_the_back_ends_have_what_their_protocol_asks_for(file, kind, tmp_path):
    block = next(b for b in blocks(ROOT / "docs" / "back-ends.md") if b.mark == f"file: {file}")
    path = tmp_path / file
    path.write_text(block.text)
    module = registry.load(kind, str(path))
    protocol = vars(getattr(protocols, registry._PROTOCOLS[kind]))
    for name, function in protocol.items():
        if inspect.isfunction(function) and not name.startswith("_"):
            parameters = list(inspect.signature(function).parameters)[1:]
            assert list(inspect.signature(getattr(module, name)).parameters) == parameters, name
