"""Running the command as a user does, and small inputs made here."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from tests import warm
from tests.commands.inputs import ATOMS, BOX, PSIFLOW, SMALL, WATER
from tests.commands.springs import SITE
from tests.conftest import ROOT


def command(*modules):
    """A function that runs `psiflow ARGS` in a process that has `modules` imported."""
    server = warm.server(*modules)

    def run(*args, code=0, stdin="", **options):
        done = server.run([PSIFLOW, *map(str, args)], stdin, **options)
        assert done.returncode == code, f"exit {done.returncode}, not {code}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done

    return run


@pytest.fixture
def psiflow(tmp_path, monkeypatch):
    """Run `psiflow ARGS` in an empty folder; returns the finished process. `code` is what it must exit with."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PSIFLOW_SITE", raising=False)
    return command()


@pytest.fixture(scope="session")
def threads(once):
    """The site whose tasks run in the command's own threads, and begin at once: where a test is not about workers."""
    one = 'cores = "all"\nranks = 1\nthreads = 1'  # a code that starts a process for each core would only wait for them
    site = SITE.replace('cores = "all"', one)
    return str(once("threads", lambda folder: (folder / "threads.toml").write_text(site)) / "threads.toml")


@pytest.fixture
def in_threads(psiflow, threads, monkeypatch):
    """The site `threads` unless a command names another."""
    monkeypatch.setenv("PSIFLOW_SITE", threads)


@pytest.fixture
def psiflow_mace(in_threads):
    """As `psiflow`, for tasks that use MACE: they run in the command's threads, and find it imported."""
    return command("mace.calculators")


@pytest.fixture
def in_workers(in_threads, monkeypatch):
    """The site that is used where none is named, whose workers are processes, for a test among others `in_threads`."""
    monkeypatch.delenv("PSIFLOW_SITE")


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Start `psiflow ARGS` in its own process group and leave it running."""
    monkeypatch.chdir(tmp_path)
    running = []

    def popen(*args, **options):
        process = subprocess.Popen(
            [PSIFLOW, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
        )
        running.append(process)
        return process

    yield popen
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate()


class Trained(NamedTuple):
    """A small model of water, made with the commands, and what it was made from."""

    model: str
    train: str
    test: str
    """Labelled molecules without and boxes with periodicity."""
    arguments: tuple[str, ...]
    """Of `psiflow`, less the output."""
    site: str
    """A site file whose trainings have one core each: two equal ones give equal bytes."""


@pytest.fixture(scope="session")
def trained(once):
    """Made once (about 20 s) for all tests, in whichever process they run."""
    pytest.importorskip("mace", reason="mace-torch is not installed")
    pytest.importorskip("tblite", reason="the xtb reference needs tblite")
    folder = once("trained", lambda folder: _train(_trained(folder), folder))
    return _trained(folder)


def _trained(folder):
    model, train, test = (str(folder / name) for name in ("water.model", "data.train.xyz", "data.test.xyz"))
    site = folder / "one.toml"
    data = (train, "--valid", test, "--arch", "mace", "--site", str(site))
    return Trained(model, train, test, ("train", *data, *SMALL, "--set", "max_num_epochs=30"), str(site))


def _train(trained, folder):
    """Rattle, label with xTB, split and train."""

    def run(*args):
        done = warm.server().run([PSIFLOW, *map(str, args)], cwd=folder)
        assert done.returncode == 0, done.stderr

    for name, text in (("water.xyz", WATER), ("box.xyz", BOX), ("atoms.xyz", ATOMS)):
        (folder / name).write_text(text)
    shipped = (ROOT / "site.d" / "local.toml").read_text()
    assert 'cores = "all"' in shipped
    Path(trained.site).write_text(shipped.replace('cores = "all"', "cores = 1"))
    run("rattle", "water.xyz", "-n", 40, "--amplitude", 0.06, "--seed", 1, "-o", "waters.xyz")
    run("rattle", "box.xyz", "-n", 16, "--amplitude", 0.05, "--strain", 0.02, "--seed", 2, "-o", "boxes.xyz")
    run("label", "waters.xyz", "boxes.xyz", "atoms.xyz", "--reference", "xtb", "-o", "data.xyz")
    run("split", "data.xyz", "--parts", "train=0.8,test=0.2")
    run(*trained.arguments, "-o", trained.model)
