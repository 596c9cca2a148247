"""From the words of a site file to numbers on a machine."""

from __future__ import annotations

import sys

import pytest

from psiflow_cli.errors import BadConfig
from psiflow_cli.site import load, resolve
from tests.site.sites import SITE, machine

MINE = ("cp2k.label", "mine.label")  # of a back end that is not psiflow's, which may use a GPU


@pytest.fixture
def target(tmp_path):
    """`resolve.executor_of` of cp2k.label, on the table [resources.big] with these lines in place of its own."""

    def make(lines='cores = 2\nranks = 2\nmemory = "2 GB"', on=None, family="cp2k", more=(), tasks=1):
        path = tmp_path / "mine.toml"
        old = 'cores = 2\nranks = 2\nthreads = 1\nmemory = "2 GB"\nwalltime = "2h"\n'
        assert old in SITE
        text = SITE.replace(old, lines + "\n")
        for change in [more] if more and isinstance(more[0], str) else more:
            text = text.replace(*change)
        path.write_text(text)
        return resolve.executor_of(load.parse(path), family, "label", on or machine(), tasks)

    return make


def test_the_threads_of_a_process_run_one_task_of_a_model_at_a_time(target):
    """Two MACE models that were loaded at the same time made every frame fail, in torch.fx."""
    threads = ('type = "htex"', 'type = "threads"\ntasks_per_node = 3')
    assert target("cores = 1", more=threads).workers == 3
    assert target("cores = 1", more=(MINE, threads), family="mine").workers == 1


def test_the_scarcest_resource_decides_how_many_run_at_once(target):
    assert target("cores = 2").workers == 4
    assert target('cores = 2\nmemory = "6 GB"', machine(memory_mb=16 * 1024)).workers == 2
    assert target('device = "cuda"', machine(gpus=("0", "1", "2"))).workers == 3
    assert target('device = "cuda"\ngpus = 2', machine(gpus=("0", "1", "2"))).workers == 1
    assert target("cores = 3").workers == 2
    assert target("cores = 1", more=('type = "htex"', "tasks_per_node = 5")).workers == 5
    assert target('cores = "all"').workers == 1


def test_nodes_multiply(target):
    assert target("cores = 2", machine(nodes=3)).workers == 12
    assert target("cores = 2", machine(nodes=3), more=('type = "local"', "nodes = 2")).workers == 8


def test_the_context_has_numbers(target):
    context = target('cores = 8\nranks = 4\nmemory = "1.5 GB"\nwalltime = "90 min"').context
    assert (context["cores"], context["ranks"], context["threads"]) == (8, 4, 2)
    assert context["memory"] == 1536
    assert context["walltime"] == 5400.0
    assert context["dtype"] is None
    assert target('cores = "all"', machine(cores=6)).context["threads"] == 6
    assert target("ranks = 4\nthreads = 2").context["cores"] == 8  # what the ranks need, though cores says 1
    plain = target("cores = 1").context
    assert plain["memory"] is None
    assert plain["walltime"] is None


def test_auto_takes_a_gpu_where_there_is_one(target):
    on_cpu = target('device = "auto"', family="mine", more=MINE)
    assert (on_cpu.context["device"], on_cpu.context["gpus"], on_cpu.gpus) == ("cpu", 0, ())
    on_gpu = target('device = "auto"', machine(gpus=("0", "1")), "mine", MINE)
    assert (on_gpu.context["device"], on_gpu.context["gpus"], on_gpu.gpus) == ("cuda", 1, ("0", "1"))
    assert target('device = "cpu"', machine(gpus=("0",))).gpus == ()


def test_what_is_not_named_runs_on_the_default(target):
    found = target(family="mace")
    assert found.label == "default"
    assert found.context["ranks"] == 1
    assert found.python == sys.executable


@pytest.mark.parametrize(
    ("lines", "what"),
    [
        ("cores = 9", r"\[resources.big\] cores: 9 requested, but this process may use 8"),
        ("cores = 2\nranks = 5\nthreads = 2", r"\[resources.big\] cores: 10 requested"),
        ('device = "cuda"', r"\[resources.big\] gpus: 1 requested, but 0 visible"),
        ("gpus = 2", r"\[resources.big\] gpus: 2 requested, but 0 visible"),
        ('memory = "1 TB"', r"\[resources.big\] memory: 1 TB requested, but this process may use 16000 MB"),
    ],
)
def test_more_than_there_is(target, lines, what):
    with pytest.raises(BadConfig, match=what) as caught:
        target(lines)
    assert caught.value.hint


def test_environments_have_a_python(target, tmp_path, monkeypatch):
    python = tmp_path / "envs" / "mine" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    monkeypatch.setenv("MY_ENVS", str(tmp_path / "envs"))
    assert target(more=('prefix = ""', 'prefix = "$MY_ENVS/mine"')).python == str(python)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert target(more=('prefix = ""', 'prefix = "~/envs/mine"')).python == str(python)
    with pytest.raises(BadConfig, match=r"\[environments.own\] prefix: .*/envs/yours/bin/python does not exist"):
        target(more=('prefix = ""', 'prefix = "$MY_ENVS/yours"'))


@pytest.mark.parametrize(
    ("text", "mb"),
    [
        ("4 GB", 4096),
        ("4G", 4096),
        ("500 MB", 500),
        ("1.5GiB", 1536),
        ("2 TB", 2 * 1024**2),
        ("512 kB", 1),
        ("4gb", 4096),
        ("32Gi", 32768),
    ],
)
def test_memory(text, mb):
    assert resolve.megabytes(text) == mb


@pytest.mark.parametrize("text", ["", "4", "GB", "-1 GB", "4 gigs", "4 GBs"])
def test_no_amount_of_memory(text):
    with pytest.raises(ValueError, match="memory"):
        resolve.megabytes(text)


def test_members_share_all_cores_and_the_memory(target):
    def shared(tasks, on, lines='cores = "all"', more=()):
        found = target(lines, on, "mine", [MINE, more or ("", "")], tasks)
        return found.workers, found.cores, found.context["threads"], found.context["memory"]

    large = machine(cores=16, memory_mb=64_000)
    assert shared(1, large) == (1, 16, 16, None)
    assert shared(4, large) == (4, 4, 4, 16_000)
    assert shared(3, large) == (3, 5, 5, 21_333)
    assert shared(40, large) == (15, 1, 1, 4266)  # so many have 4 GB
    assert shared(4, large, 'cores = "all"\nthreads = 1') == (4, 4, 1, 16_000)
    assert shared(4, large, 'cores = "all"\nranks = 8') == (2, 8, 1, 32_000)
    assert shared(4, large, 'cores = "all"\nmemory = "30 GB"') == (2, 8, 8, 30 * 1024)
    assert shared(4, large, more=('type = "htex"', "tasks_per_node = 2")) == (2, 8, 8, 32_000)
    assert shared(4, machine(cores=2, memory_mb=2000)) == (1, 2, 2, None)
    assert shared(4, machine(nodes=2)) == (4, 4, 4, 8000)
    assert shared(4, large, "cores = 4") == (4, 4, 4, None)
    for gpus, at_once in ((("0",), 1), (("0", "1"), 2), (tuple("01234567"), 4)):
        on = machine(cores=16, memory_mb=64_000, gpus=gpus)
        assert shared(4, on, 'cores = "all"\ndevice = "auto"')[:2] == (at_once, 16 // at_once)


def test_no_reference_code_waits_for_a_gpu(target, tmp_path):
    on = machine(gpus=("0",))
    for family, device, workers in (("cp2k", "cpu", 8), ("mine", "cuda", 1)):
        found = target('cores = 1\ndevice = "auto"', on, family, more=("cp2k.label", f"{family}.label"))
        assert (found.context["device"], found.workers) == (device, workers)


def test_tasks_with_gpus_are_counted(target):
    on = machine(gpus=tuple("01234"))
    for gpus, at_once in ((1, 5), (2, 2), (5, 1)):
        found = target(f'cores = 1\ndevice = "cuda"\ngpus = {gpus}', on)
        assert (found.workers, found.gpus) == (at_once, on.gpus)
    shared = ('type = "htex"', "tasks_per_gpu = 3")
    assert target('cores = 1\ndevice = "cuda"', machine(gpus="01"), more=shared).workers == 6
    assert target('cores = 1\ndevice = "cuda"\ngpus = 2', on, more=shared).workers == 6
    assert target('cores = 2\ndevice = "cuda"', machine(gpus="01"), more=shared).workers == 4, "cores for no more"
    assert target("cores = 1", on).gpus == ()
