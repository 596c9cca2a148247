"""What `[run]` of a site file decides: retries by class, the cache, Parsl's log, scratch that is kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.commands import inputs
from tests.commands.inputs import WATER

SITE = """
[providers.here]
[resources.task]
scratch = "{scratch}"
[executors.default]
provider = "here"
resources = "task"
tasks_per_node = 1
{executor}
[use]
default = "default"
[run]
{run}
"""
REFERENCE = (
    '''"""Crashes until a file says that it was tried often enough, and leaves something in its scratch."""
from pathlib import Path
from psiflow_cli.worker.process import scratch
'''
    + inputs.REFERENCE
    + """def label(frames, settings, context):
    tries = Path(settings["tries"])
    tries.write_text(tries.read_text() + "x" if tries.exists() else "x")
    with scratch.folder(context, "mine") as folder:
        (folder / "left").write_text("behind")
    if len(tries.read_text()) < int(settings["good"]):
        raise RuntimeError("not yet")
    zero = [[0.0, 0.0, 0.0] for _ in frames[0]["symbols"]]
    return [{"energy": 1.0, "forces": zero, "stress": None, "code": "none"} for _ in frames]
"""
)


@pytest.fixture
def label(psiflow, tmp_path):
    """Label one water with a reference that is good at its `good`-th try; returns the process."""
    Path("mine.py").write_text(REFERENCE)
    Path("in.xyz").write_text(WATER)

    def run(table="", executor="", good=1, code=0):
        Path("mine.toml").write_text(SITE.format(run=table, executor=executor, scratch=tmp_path / "scratch"))
        tries = tmp_path / "tries"
        return psiflow(
            "label", "in.xyz", "--reference", "./mine.py", "--set", f"tries={tries}", "--set", f"good={good}",
            "-o", "out.xyz", "--site", "./mine.toml", code=code,
        )  # fmt: skip

    return run


def tries():
    return len(Path("tries").read_text())


def test_a_crash_is_final_by_default(label):
    label(good=3, code=1)
    assert tries() == 1


def test_a_crash_is_tried_again_as_often_as_the_site_says(label):
    label("retries = { crashed = 2 }", good=3)
    assert tries() == 3
    assert not Path("out.failed.xyz").exists()


def test_retries_end(label):
    label("[run.retries]\ncrashed = 1", good=3, code=1)
    assert tries() == 2


def test_a_cache_is_the_default(label):
    label()
    assert "up to date" in label().stderr
    assert tries() == 1


def test_without_a_cache_all_is_computed_anew(label):
    label("cache = false")
    before = Path("out.xyz").read_bytes()
    label("cache = false")
    assert tries() == 2
    assert Path("out.xyz").read_bytes() == before


def test_without_a_cache_an_unfinished_run_goes_on(label):
    label("cache = false")
    record = json.loads(Path("out.xyz.run/run.json").read_text())
    del record["result"]  # as a kill leaves it
    Path("out.xyz.run/run.json").write_text(json.dumps(record))
    label("cache = false")
    assert tries() == 1


@pytest.mark.parametrize(("level", "there"), [("off", False), ("info", True)])
def test_parsls_log(label, level, there):
    label(f'log_level = "{level}"')
    logs = list(Path("out.xyz.run").rglob("parsl.log"))
    assert bool(logs) == there
    assert all("INFO" in log.read_text() and "DEBUG" not in log.read_text() for log in logs)


@pytest.mark.parametrize("kept", [False, True])
def test_scratch_is_kept_if_asked(label, kept):
    label(f"keep_scratch = {str(kept).lower()}")
    assert [p.read_text() for p in Path("scratch").rglob("left")] == ["behind"] * kept
