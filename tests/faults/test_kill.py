"""SIGKILL at any moment (R1, R3, R5): no finished frame again, the same bytes, no partial output, no process left."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from tests import warm
from tests.commands.inputs import copper
from tests.faults.runs import Watcher, arguments, at, begun, finished, processes, records, site, wait_for

STEPS = Path(__file__).with_name("steps.py")
FULL = pytest.mark.full


def inputs(count):
    """Frames to label, one of which fails."""
    Path("in.xyz").write_text(copper(count) + at(107.0))


@pytest.mark.timeout(1500)
@pytest.mark.parametrize("moments", [5, pytest.param(100, marks=FULL)])
def test_killed_at_random_moments(psiflow, start, moments):
    inputs(60)
    site(more="tasks_per_node = 2")
    options = ("--set", "seconds=0.02", "--max-failed", "1")
    begin = time.monotonic()
    psiflow(*arguments("whole.xyz", *options))
    lasts = time.monotonic() - begin
    whole = [Path(name).read_bytes() for name in ("whole.xyz", "whole.failed.xyz")]
    draw, runs, slowest, interrupted = Random(4), 0, 0.0, 0
    with Watcher("killed-0.xyz", whole[:1]), Watcher("killed-0.failed.xyz", whole[1:]):
        pass  # they see nothing yet, and work
    for _ in range(moments):
        output = f"killed-{runs}.xyz"
        with (
            Watcher(output, whole[:1]) as labelled,
            Watcher(output.replace(".xyz", ".failed.xyz"), whole[1:]) as failed,
        ):
            before, of_before = Counter(finished(output)), begun(output)
            process = start(*arguments(output, *options))
            time.sleep(draw.uniform(0.2, 1.1 * lasts))
            process.kill()
            ended_well = process.wait() == 0
            left = processes(f"{output}.run")
            again = {frame for frame in begun(output) - of_before if frame in before}
            assert not again, "finished frames were begun again"
            slowest = max(slowest, wait_for(lambda left=left: not left & processes(".xyz.run"), 10, "left after 10 s"))
        assert not labelled.partial
        assert not failed.partial
        interrupted += not ended_well
        if ended_well:
            assert labelled.seen
            check_whole(output, whole)
            runs += 1
    output = f"killed-{runs}.xyz"
    psiflow(*arguments(output, *options))
    check_whole(output, whole)
    print(f"{interrupted} of {moments} kills came in time; all processes were gone after {slowest:.1f} s at most")
    assert interrupted > moments / 2


def check_whole(output, whole):
    """The outputs are byte for byte those of a run that was not killed, and no frame finished twice."""
    assert [Path(name).read_bytes() for name in (output, output.replace(".xyz", ".failed.xyz"))] == whole
    assert set(finished(output).values()) == {1}


def test_killed_at_every_step_that_lasts(psiflow, request):
    """Each write, sync and rename is a moment of its own; a write is also torn in the middle."""
    inputs(3)
    site("threads")

    def run(number, how, output):
        words = map(str, arguments(output, "--max-failed", "1"))
        return warm.server().run([str(STEPS), str(number), how, *words], timeout=100)

    done = run(0, "before", "whole.xyz")
    assert done.returncode == 0, done.stderr
    whole = [Path(name).read_bytes() for name in ("whole.xyz", "whole.failed.xyz")]
    steps = int(done.stdout.split()[-1])
    assert steps > 20
    moments = [(number, how) for number in range(1, steps + 1) for how in ("before", "torn")]
    if not request.config.getoption("--full"):
        moments = moments[-1:0:-5]
    for number, how in moments:
        output = f"{how}-{number}.xyz"
        with Watcher(output, whole[:1]) as labelled:
            code = run(number, how, output).returncode
            # results that come together are written together, so that there may be fewer steps than the first time
            assert code == -9 or (code == 0 and number > 20)
            kept = finished(output)
            again = run(0, "before", output)
            assert again.returncode == 0, f"{how} step {number}: {again.stderr}"
        assert not labelled.partial
        check_whole(output, whole)
        counts = begun(output)
        assert all(counts[frame] == 1 for frame in kept), (number, how)
        assert not list(Path().glob(f".{output}*")), "a temporary file is left"
    print(f"{len(moments)} kills at {steps} steps")


def test_programs_of_a_killed_command_end_too(psiflow, start):
    """Programs in sessions of their own are found: nothing is left 10 s after kill -9."""
    Path("mine.py").write_text(
        "from pathlib import Path\nimport subprocess, time\n"
        "SUMMARY, REQUIRES, FRAME_INPUTS, DEFAULT_TASK_SECONDS = 'x', (), (), 0\n"
        "def settings(input_file, options): return {}\n"
        "def check(settings, elements): pass\n"
        "def label(frames, settings, context):\n"
        "    for detached in (True, False):\n"
        "        subprocess.Popen(['sleep', '3333.25'], start_new_session=detached)\n"
        "    Path(context['logs'], 'begun').write_text('now')\n"
        "    time.sleep(1000)\n"
    )
    inputs(1)
    site()
    process = start(*arguments("out.xyz", reference="./mine.py"))
    wait_for(lambda: begun("out.xyz"), 60, "no frame was begun")
    process.kill()
    process.wait()
    here = str(Path("out.xyz.run").absolute())  # others run beside this test
    wait_for(lambda: not processes(here) | processes("3333.25"), 10, "processes are left 10 s after kill -9")
    assert not [record for record in records("out.xyz") if record["kind"] == "unit"]


def test_in_threads_what_waits_is_not_begun_after_the_end(psiflow):
    """A task that runs in the command's own process cannot be ended, but those behind it need not be done."""
    inputs(6)
    site("threads", resources="cores = 'all'")
    psiflow(*arguments("out.xyz", "--set", "seconds=3", "--deadline", "2 s"), code=75)
    assert len(begun("out.xyz")) == 1
