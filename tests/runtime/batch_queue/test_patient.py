"""Parsl's own classes for batch systems, with the answers of the systems' programs: silence ends no job."""

from __future__ import annotations

from pathlib import Path

import pytest
from parsl.jobs.states import JobState
from parsl.providers.cluster_provider import ClusterProvider

from psiflow_cli import protocols, registry
from psiflow_cli.runtime.batch_queue import patient
from psiflow_cli.runtime.block_faults import output
from psiflow_cli.runtime.block_faults.admission import Admission
from psiflow_cli.site import detect, load, resolve
from tests.site.test_scripts import ROWS, SITE

# kind: id of a job, what its submission prints, and lists of the queue: (arguments of the answer, state that follows)
ID = {"pbspro": "123.head", "torque": "123.head", "condor": "123.0"}
SUBMITTED = {
    "slurm": "Submitted batch job 123\n", "pbspro": "123.head\n", "torque": "123.head\n",
    "lsf": "Job <123> is submitted to queue <q>.\n", "grid_engine": "123\n",
    "condor": "Submitting job(s).\n1 job(s) submitted to cluster 123.\n",
}  # fmt: skip
LISTED = {
    "pbspro": ('{"Jobs": {\n"123.head": {"job_state": "R"}}}', '{"Jobs": {\n"123.head": {"job_state": "H"}}}'),
    "torque": ("123.head x me 0 R q\n", "123.head x me 0 S q\n"),
    "lsf": ("123 RUN\n", "123 USUSP\n"),
    "grid_engine": ("123 0.5 x me r 1/1/2026\n", "123 0.5 x me eqw 1/1/2026\n"),
    "condor": ("123.0 2\n", "123.0 5\n"),
}  # fmt: skip
EMPTY = {"pbspro": '{"Jobs": {}}'}
FAILED = (1, "", "cannot connect to server")


class Queue:
    """Answers in place of the programs of a batch system."""

    def __init__(self) -> None:
        self.answer = (0, "", "")
        self.scripts: list[str] = []

    def __call__(self, _provider, cmd, _timeout=None):
        if isinstance(self.answer, Exception):
            raise self.answer
        self.scripts += [Path(word).read_text() for word in cmd.split() if Path(word).is_file()]
        return self.answer


class Record:
    """Of submissions: the ids that are known, and the names of jobs without one."""

    def __init__(self, ids: list[str]) -> None:
        self.ids, self.names = ids, list[str]()

    def submitting(self, name: str) -> None:
        self.names.append(name)

    def submitted(self, job: str, name: str) -> None:
        self.ids.append(job)
        self.names.remove(name)

    def refused(self, name: str) -> None:
        self.names.remove(name)


@pytest.fixture(params=ROWS)
def batch(request, tmp_path, monkeypatch):
    """(provider, queue, ids of the jobs that were submitted) of each batch system."""
    (tmp_path / "mine.toml").write_text(SITE.format(kind=request.param, keys=ROWS[request.param][0]))
    queue, ids = Queue(), []
    monkeypatch.setattr(ClusterProvider, "execute_wait", lambda *arguments: queue(*arguments))
    queue.answer = (1, "", "")  # there is no sacct
    resolved = resolve.executor_of(load.load(str(tmp_path / "mine.toml")), "emt", "label", detect.machine())
    kind = registry.load("runtime.providers", request.param)
    provider = kind.build(resolved.provider, resolved)
    provider.script_dir = str(tmp_path)
    assert patient.be_patient(provider, Admission(tmp_path, 3, 60), Record(ids), set)
    if isinstance(kind, protocols.Retranslates):
        patient.retranslate(provider, kind.STATES)
    queue.answer = (0, SUBMITTED[request.param], "")
    job = provider.submit("true", 1, "parsl.default.block-0")
    assert ids == [job] == [ID.get(request.param, "123")]
    return provider, queue, request.param


@pytest.fixture
def asked(batch):
    """The same of those that ask their queue themselves: SLURM's is asked for all commands (test_slurm_jobs.py)."""
    if batch[2] == "slurm":
        pytest.skip("asked for all commands together")
    return batch


def state(provider):
    (job,) = provider.resources
    return provider.status([job])[0].state


def test_a_queue_that_does_not_answer_has_ended_nothing(asked):
    provider, queue, kind = asked
    for answer in (FAILED, (0, "no table at all", ""), OSError("timed out"), FAILED, FAILED):
        queue.answer = answer
        assert state(provider) is JobState.PENDING
    queue.answer = (0, LISTED[kind][0], "")
    assert state(provider) is JobState.RUNNING
    queue.answer = FAILED
    assert [state(provider) for _ in range(5)] == [JobState.RUNNING] * 5


def test_a_job_has_ended_when_the_queue_says_so_twice(asked):
    provider, queue, kind = asked
    queue.answer = nothing = (0, EMPTY.get(kind, ""), "")
    assert state(provider) is JobState.PENDING
    queue.answer = (0, LISTED[kind][0], "")
    assert state(provider) is JobState.RUNNING
    queue.answer = nothing
    assert [state(provider) for _ in range(2)] == [JobState.RUNNING, JobState.COMPLETED]


def test_a_job_whose_workers_are_connected_has_not_ended_whatever_the_queue_forgets(asked):
    provider, queue, kind = asked
    (job,) = provider.resources
    queue.answer = (0, LISTED[kind][0], "")
    assert state(provider) is JobState.RUNNING
    provider.at_work = lambda: {job}
    queue.answer = (0, EMPTY.get(kind, ""), "")
    assert [state(provider) for _ in range(5)] == [JobState.RUNNING] * 5
    provider.at_work = set
    assert state(provider) is JobState.COMPLETED


def test_an_id_that_the_queue_does_not_know_any_more_is_gone(asked):
    provider, queue, _ = asked
    queue.answer = (1, "", "Unknown Job Id 123 / Invalid job id specified / Job <123> is not found")
    assert [state(provider) for _ in range(2)] == [JobState.PENDING, JobState.COMPLETED]


def test_a_held_job_is_one_of_the_blocks(asked):
    provider, queue, kind = asked
    queue.answer = (0, LISTED[kind][0], "")
    state(provider)
    queue.answer = (0, LISTED[kind][1], "")
    assert state(provider) is JobState.HELD
    assert provider.max_blocks == 3


def test_a_refusal_has_the_words_of_the_batch_system_and_is_not_repeated_at_once(batch):
    provider, queue, kind = batch
    queue.answer = (1, "", "qsub: would exceed queue generic's per-user limit")
    with pytest.raises(patient.Refused, match="per-user limit"):
        provider.submit("true", 1)
    assert provider.max_blocks == 0
    queue.answer = (0, SUBMITTED[kind], "")
    with pytest.raises(patient.Refused, match="per-user limit"):
        provider.submit("true", 1)
    provider.admission.after_refusals.end()
    assert provider.record.names == []
    assert provider.submit("true", 1)
    assert provider.max_blocks == 4


def test_a_submission_that_nobody_answered_may_have_arrived(batch):
    provider, queue, _ = batch
    queue.answer = (1, "", "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation")
    with pytest.raises(patient.Refused, match="timed out"):
        provider.submit("true", 1, "parsl.default.block-1")
    (name,) = provider.record.names
    assert "parsl.default.block-1." in name
    assert "/" not in name


def test_the_name_of_a_job_is_on_record_before_it_is_submitted(batch, monkeypatch):
    provider, queue, kind = batch
    before = []
    queue.answer = (0, SUBMITTED[kind], "")
    answer = lambda *arguments: before.extend(provider.record.names) or queue(*arguments)  # noqa: E731
    monkeypatch.setattr(ClusterProvider, "execute_wait", answer)
    provider.submit("true", 1, "parsl.default.block-1")
    assert "parsl.default.block-1." in before[0]
    assert provider.record.names == []


def test_nodes_that_fail_are_left_out_of_the_next_script(batch):
    provider, queue, kind = batch
    module = registry.load("runtime.providers", kind)
    assert isinstance(module, protocols.Excludes) == (kind not in ("pbspro", "torque"))
    assert output.ANNOUNCE in "".join(queue.scripts) or kind == "condor"
    if isinstance(module, protocols.Excludes):
        patient.add_to_scripts(provider, "EXCLUDED\n")
        provider.submit("true", 1)
        assert queue.scripts[-1].count("EXCLUDED\n") == 1
        assert "EXCLUDED" not in queue.scripts[0]


@pytest.mark.parametrize(
    ("kind", "keys", "line"),
    [
        ("slurm", "", "#SBATCH --exclude=n1,n2\n"),
        ("slurm", 'sbatch = ["--exclude=gpu[1-2]", "-x old"]', "#SBATCH --exclude=gpu[1-2],old,n1,n2\n"),
        ("lsf", "", "#BSUB -R \"select[hname!='n1']\"\n#BSUB -R \"select[hname!='n2']\"\n"),
        ("grid_engine", "", "#$ -l hostname=!(n1|n2)\n"),
        ("condor", "", 'requirements = !regexp("^(n1|n2)([.]|$)", TARGET.Machine)\n'),
    ],
)
def test_each_batch_system_leaves_nodes_out_in_its_own_words(tmp_path, kind, keys, line):
    (tmp_path / "mine.toml").write_text(SITE.format(kind=kind, keys=keys))
    provider = load.load(str(tmp_path / "mine.toml")).providers["batch"]
    assert registry.load("runtime.providers", kind).exclude(provider, ["n1", "n2"]) == line


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", []),
        ("n1", ["n1"]),
        ("node7.cluster.org", ["node7.cluster.org"]),
        ("n[1-3,7],gpu01", ["n1", "n2", "n3", "n7", "gpu01"]),
        ("n[08-11]", ["n08", "n09", "n10", "n11"]),
        ("r[1-2]n[1-2]-ib", ["r1n1-ib", "r1n2-ib", "r2n1-ib", "r2n2-ib"]),
        ("a b  c", ["a", "b", "c"]),
        ("n[x]", ["n[x]"]),
    ],
)
def test_lists_of_nodes_are_read(text, names):
    assert output.names(text) == names


def test_a_block_says_where_it_ran_and_what_was_wrong(tmp_path):
    scripts = tmp_path / "000" / "submit_scripts"
    scripts.mkdir(parents=True)
    (scripts / "parsl.cpu.block-1.17.5.stdout").write_text("psiflow: this block runs on n3\nFound cores : 2\n")
    assert output.nodes(tmp_path, "cpu", "1") == "n3"
    assert output.last_words(tmp_path, "cpu", "1") == ""
    (scripts / "parsl.cpu.block-1.17.5.stderr").write_text("warning\nno /scratch on this node\n\n")
    assert output.last_words(tmp_path, "cpu", "1") == "no /scratch on this node"
    assert output.nodes(tmp_path, "cpu", "10") == ""
