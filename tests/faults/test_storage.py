"""Disks that are full or read-only and files that cannot be read (R10): the right exit code, and the journal intact."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.commands.inputs import PSIFLOW, copper
from tests.faults.runs import arguments, at, begun, finished, site

ROOT_WITH_MOUNT = pytest.mark.skipif(os.getuid() != 0 or not shutil.which("mount"), reason="needs root and mount")
FRAMES = 60


@contextlib.contextmanager
def disk(folder, size):
    """A file system of its own of this size; skips where none can be mounted."""
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("a tmpfs cannot be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def remount(folder, options):
    subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)


@pytest.fixture
def whole(psiflow, tmp_path):
    """The outputs of a run without faults."""
    Path("in.xyz").write_text(copper(FRAMES) + at(107.0))
    site("threads")
    psiflow(*arguments("whole.xyz", "--max-failed", "1"))
    return [Path(name).read_bytes() for name in ("whole.xyz", "whole.failed.xyz")]


def check(psiflow, output, whole):
    """After the fault the same command ends well: nothing finished is computed again, and the bytes are the same."""
    kept, before = set(finished(output)), begun(output)
    psiflow(*arguments(output, "--max-failed", "1"))
    assert not {frame for frame in begun(output) - before if frame in kept}
    assert [Path(name).read_bytes() for name in (output, output.replace(".xyz", ".failed.xyz"))] == whole
    assert set(finished(output).values()) == {1}


@pytest.mark.parametrize("step", [6000, pytest.param(500, marks=pytest.mark.full)])
def test_no_file_can_grow_further(psiflow, whole, step):
    """As on a full disk, wherever it fills up: the system refuses to let a file grow beyond a size."""
    largest = max(path.stat().st_size for path in Path().rglob("*") if path.is_file())
    sizes = range(1000, largest, step)
    for size in sizes:
        output = f"out-{size}.xyz"
        done = subprocess.run(
            [PSIFLOW, *arguments(output, "--max-failed", "1")],
            preexec_fn=lambda size=size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
            capture_output=True, text=True, timeout=100,
        )  # fmt: skip
        assert done.returncode == 74, (size, done.stderr)
        assert "File too large" in done.stderr
        assert len(done.stderr.strip().splitlines()) <= 2
        assert not Path(output).exists()
        check(psiflow, output, whole)
    print(f"{len(sizes)} sizes")


@ROOT_WITH_MOUNT
@pytest.mark.parametrize(
    ("executor", "fraction"),
    [
        *(("threads", fraction) for fraction in (0.3, 0.6, 0.9)),
        *(pytest.param("htex", fraction, marks=pytest.mark.full) for fraction in (0.3, 0.9)),
        ("htex", 0.6),
    ],
)
def test_a_full_disk(psiflow, whole, tmp_path, executor, fraction):
    """With this fraction of the room that the run takes."""
    site(executor)
    with disk(tmp_path / "small", "40m") as small:
        output = str(small / "out.xyz")
        psiflow(*arguments(output, "--max-failed", "1"))
        used = shutil.disk_usage(small).used
        shutil.rmtree(f"{output}.run")
        for name in ("out.xyz", "out.failed.xyz"):
            (small / name).unlink()
        remount(small, f"size={int(fraction * used)}")
        done = psiflow(*arguments(output, "--max-failed", "1"), code=74)
        assert "No space left" in done.stderr
        assert "free some disk space" in done.stderr
        assert not Path(output).exists()
        remount(small, "size=40m")
        check(psiflow, output, whole)


@ROOT_WITH_MOUNT
def test_a_disk_that_became_read_only(psiflow, whole, tmp_path):
    with disk(tmp_path / "disk", "40m"):
        output = str(tmp_path / "disk" / "out.xyz")
        psiflow(*arguments(output, "--max-failed", "1"))
        with Path("in.xyz").open("a") as stream:
            stream.write(at(0.9))
        remount(tmp_path / "disk", "ro")
        done = psiflow(*arguments(output, "--max-failed", "1"), code=73)
        assert "out.xyz" in done.stderr
        assert len(done.stderr.strip().splitlines()) <= 2
        assert psiflow("status", output).stdout
        remount(tmp_path / "disk", "rw")
        assert [Path(name).read_bytes() for name in (output, output.replace(".xyz", ".failed.xyz"))] == whole
        psiflow(*arguments(output, "--max-failed", "1"))
        assert Path(output).read_bytes().startswith(whole[0])


def folder_of_another(tmp_path):
    """A folder that this user cannot write in: for root, /proc is one."""
    if os.getuid() == 0:
        return Path("/proc/self")
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o500)
    return folder


@pytest.mark.parametrize("option", ["-o", "--run-dir", "--failed"])
def test_a_folder_that_cannot_be_written(psiflow, tmp_path, option):
    Path("in.xyz").write_text(copper(1) + at(107.0))
    site("threads")
    place = folder_of_another(tmp_path) / "out.xyz"
    done = psiflow(
        "label", "in.xyz", "--reference", str(arguments("x")[3]), "--site", "site.toml", option, place, code=73
    )
    assert str(place) in done.stderr or str(place.parent) in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2
    assert not begun("in.labelled.xyz")


@pytest.mark.parametrize("name", ["folder.xyz", "missing.xyz", "closed.xyz", "loop.xyz"])
def test_an_input_that_cannot_be_read(psiflow, name):
    Path("folder.xyz").mkdir()
    Path("loop.xyz").symlink_to("loop.xyz")
    Path("closed.xyz").write_text(copper(1))
    Path("closed.xyz").chmod(0)
    if name == "closed.xyz" and os.getuid() == 0:
        pytest.skip("root reads every file")
    site("threads")
    done = psiflow(*arguments("out.xyz", frames=name), code=66)
    assert name in done.stderr
    assert not Path("out.xyz.run").exists()
