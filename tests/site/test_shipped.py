"""The shipped site files: each loads, asks its batch system for what is expected, and names nobody's account.

After a change that is meant, these tests write the expected scripts again if PSIFLOW_WRITE_SCRIPTS is set.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from psiflow_cli import toml
from psiflow_cli.runtime.script import script
from psiflow_cli.site import load, resolve
from tests.site.reference_keys import expected as keys
from tests.site.reference_keys import problems
from tests.site.sites import machine

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "site.d").glob("*.toml"))
SCRIPTS = Path(__file__).with_name("scripts")
BATCH = {"slurm", "pbspro", "torque", "lsf", "grid_engine", "condor"}
PROMISED = {
    "local", "workstation", "hortense", "stevin", "lumi", "slurm", "pbs", "googlecloud", "kubernetes", "reference",
}  # fmt: skip


def batch_executors() -> list[tuple[str, str]]:
    """Site and executor of every script that a shipped site can submit."""
    found = []
    for path in SHIPPED:
        site = load.parse(path)
        for label, executor in site.executors.items():
            if path.stem != "reference" and site.providers[executor.provider].type in BATCH:
                found.append((path.stem, label))
    return found


def made(site: str, executor: str) -> str:
    """The script as on any machine and at any time."""
    text = script(resolve.of_executor(load.parse(ROOT / "site.d" / f"{site}.toml"), executor, machine()))
    text = re.sub(r"(block-0)\.\d+(\.\d+)?", r"\1.TIME", text)
    text = re.sub(r" -a [\d.,:a-z]+ ", " -a ADDRESSES ", text)
    for path, name in (
        (sys.executable, "PYTHON"),
        (str(Path(sys.executable).parent), "BIN"),
        (f"{ROOT}/", "PSIFLOW/"),  # ROOT alone may be a part of other words
    ):
        text = text.replace(path, name)
    return text + "\n"


def expected(site: str, executor: str) -> Path:
    return SCRIPTS / f"{site}-{executor}.sh"


def test_all_that_is_promised_is_shipped() -> None:
    assert {path.stem for path in SHIPPED} >= PROMISED


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_site_loads_and_says_what_it_is(path: Path) -> None:
    site = load.parse(path)
    assert 20 < len(site.description) < 120
    assert site.use["default"] == "default"


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_site_names_nobodys_account(path: Path) -> None:
    for provider in load.parse(path).providers.values():
        for key in ("account", "project", "project_id", "secret_key", "profile"):
            assert getattr(provider, key, "") in ("", "default"), key
        lines = [*getattr(provider, "sbatch", []), *getattr(provider, "directives", [])]
        assert not [line for line in lines if re.match(r"(-A|-P|--account|--project)\b", line)]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_what_runs_where_can_be_resolved(path: Path) -> None:
    """On a large enough machine, and but for the environments of `reference.toml`, which are nobody's."""
    site = load.parse(path)
    for label, executor in site.executors.items():
        if path.stem != "reference" or not executor.environment:
            target = resolve.of_executor(site, label, machine(cores=64, memory_mb=256000, gpus=("0", "1")))
            assert target.workers >= 1
            assert (target.context["device"] == "cuda") == bool(target.gpus)


@pytest.mark.parametrize(("site", "executor"), batch_executors())
def test_the_batch_system_gets_the_expected_script(site: str, executor: str) -> None:
    if os.environ.get("PSIFLOW_WRITE_SCRIPTS"):
        expected(site, executor).write_text(made(site, executor))
    assert made(site, executor) == expected(site, executor).read_text()


def test_no_expected_script_is_left_over() -> None:
    assert {path.name for path in SCRIPTS.iterdir()} == {expected(*row).name for row in batch_executors()}


def test_the_expected_scripts_hold_no_path_of_a_machine() -> None:
    for path in SCRIPTS.iterdir():
        assert not re.findall(r"(?<![\w.$}/])/(?!bin/bash|usr/bin/env)[\w./-]+", path.read_text()), path


@pytest.fixture
def reference() -> str:
    return (ROOT / "site.d" / "reference.toml").read_text()


def types(text: str) -> dict[str, str]:
    return {name: table["type"] for name, table in toml.loads(text)["providers"].items()}


def test_the_reference_shows_every_key_with_a_comment(reference: str) -> None:
    assert problems(reference, types(reference)) == []


@pytest.mark.parametrize(
    ("line", "instead", "problem"),
    [
        (r"worker-lost = 2 .*", "", "[run.retries] worker-lost: not shown"),
        (r"(threads = 1) .*", r"\1", "[resources.*] threads: no comment"),
        (r"qos = .*", "", "[providers.slurm] qos: not shown"),
        (r"vm_reference.sku .*", "", "[providers.azure.vm_reference] sku: not shown"),
        (r"\[defaults.label\](?s:.*)", "", "[] defaults: not shown"),
    ],
)
def test_the_reference_is_searched_to_the_last_key(reference: str, line: str, instead: str, problem: str) -> None:
    changed = re.sub(f"^{line}", instead, reference, count=1, flags=re.MULTILINE)
    assert changed != reference
    assert problems(changed, types(reference)) == [problem]


def test_the_manual_page_names_every_key_and_every_shipped_site(reference: str) -> None:
    page = (ROOT / "man" / "psiflow-site.5").read_text().replace("\\-", "-")
    bold = set(re.findall(r"\\fB(.+?)\\fP", page))
    wanted = {key for _, key in keys(types(reference))} - {"use", "defaults"}
    assert wanted - bold == set()
    assert {path.stem for path in SHIPPED} - bold == set()
    assert set(re.findall(r"type = \\\(dq(\w+)", page)) == set(types(reference).values())
