"""What a bad day does to a run on a cluster, one thing after another, and what of the run's work may be lost to it."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import time
from collections import Counter, defaultdict
from pathlib import Path

from tests.faults.runs import processes

MOODS = ("slow", "broken", "forgetful", "full")


class Run:
    """One command line, started again as often as it is killed, on a cluster whose queue has moods in `bin`."""

    def __init__(self, command, output, cluster, folder_of_moods):
        self.command, self.output, self.cluster, self.moods = command, Path(output), cluster, folder_of_moods
        self.unasked = []
        """How the command ended, where nobody had killed it: exit code, last words."""
        self.count = Counter()
        self._number = 0
        self.process = None

    def start(self):
        self._number += 1
        self.log = Path(f"command-{self._number}.log")
        with self.log.open("w") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, start_new_session=True)
        self.count["commands"] += 1

    def look(self):
        """Start the command again where it has ended by itself before its work was done; False once it is done."""
        code = self.process.poll()
        if code is None:
            return True
        if code == 0:
            return False
        self.unasked.append((code, self.log.read_text()[-400:]))
        assert len(self.unasked) < 10, "it ends by itself again and again"
        self.start()
        return True

    def journal(self):
        """How often each frame has been finished."""
        path = Path(f"{self.output}.run/journal.jsonl")
        records = []
        for line in path.read_text().splitlines() if path.exists() else []:
            try:
                records.append(json.loads(line))
            except ValueError:
                continue  # torn by a kill
        return Counter(record["id"] for record in records if record["kind"] == "unit")

    def sleeps(self):
        """(begin or end, frame, job, time) of all that workers have done."""
        path = Path(f"{self.output}.run/logs/sleeps")
        rows = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
        return [(what, frame, job, float(when)) for what, frame, job, when in rows]

    def host_processes(self):
        """The command and what it started on this host; its workers are slurmd's."""
        children = defaultdict(list)
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                children[int((entry / "stat").read_text().rpartition(")")[2].split()[1])].append(int(entry.name))
            except OSError:
                continue
        below, todo = [], [self.process.pid]
        while todo:
            pid = todo.pop()
            below.append(pid)
            todo += children[pid]
        return below

    def jobs(self, state="running"):
        """Id -> node of the jobs in a state."""
        lines = self.cluster.run("squeue", "-h", "-t", state, "-o", "%i|%N").splitlines()
        return dict(line.split("|") for line in lines)


class Chaos:
    """One event after another; `pace` is the mean time between two (s)."""

    def __init__(self, run, seed, pace, stall):
        self.run, self.random, self.pace, self.stall = run, random.Random(seed), pace, stall
        self.deaths = defaultdict(list)
        """When each job was ended from outside, or lost the command that it worked for."""
        self._later = []
        """(time, what to do) to take things back."""

    def until(self, end):
        """Go on until `end`, or until the run is done; then let everything be well again."""
        following = time.time() + self.pace / 2
        while time.time() < end and self.run.look():
            self._take_back(time.time())
            if time.time() >= following:
                events = [self._scancel, self._node, self._mood, self._stop, self._kill]
                (event,) = self.random.choices(events, weights=[2, 2, 3, 1, 1])
                event()
                self.run.count[event.__name__.lstrip("_")] += 1
                following = time.time() + self.random.expovariate(1 / self.pace)
            time.sleep(0.3)
        self._take_back(float("inf"))

    def _take_back(self, now):
        for due in [entry for entry in self._later if entry[0] <= now]:
            self._later.remove(due)
            due[1]()

    def _after(self, shortest, longest, action):
        self._later.append((time.time() + self.random.uniform(shortest, longest) * self.pace, action))

    def _scancel(self):
        if jobs := list(self.run.jobs()):
            job = self.random.choice(jobs)
            self.run.cluster.run("scancel", job)
            self.deaths[job].append(time.time())

    def _node(self):
        if jobs := self.run.jobs():
            node = self.random.choice(list(jobs.values()))
            self.run.cluster.run("scontrol", "update", f"nodename={node}", "state=down", "reason=chaos")
            for job in (job for job, place in jobs.items() if place == node):
                self.deaths[job].append(time.time())
            self._after(1, 4, lambda: self.run.cluster.run("scontrol", "update", f"nodename={node}", "state=resume"))

    def _stop(self):
        """The command's host hangs: its processes stand still, and no other event helps."""
        pids = self.run.host_processes()
        for pid in pids:
            _send(pid, signal.SIGSTOP)
        seconds = self.stall * self.random.random() ** 2
        time.sleep(seconds)
        self.run.count["stopped_s"] += round(seconds)
        for pid in pids:
            _send(pid, signal.SIGCONT)

    def _mood(self):
        mood = self.random.choice(MOODS)
        self.run.count[mood] += 1
        (self.run.moods / mood).touch()
        self._after(1, 5, lambda: (self.run.moods / mood).unlink(missing_ok=True))

    def _kill(self):
        """kill -9 of the command, and the same again soon, perhaps at once; sacct may have come up by then."""
        self.run.process.send_signal(signal.SIGKILL)
        self.run.process.wait()
        killed = time.time()
        for job in (*self.run.jobs(), *self.run.jobs("pending")):
            self.deaths[job].append(killed)
        time.sleep(self.random.choice([0, self.pace / 2]))
        accounts = self.run.moods / "accounts"
        accounts.touch() if self.random.random() < 0.5 else accounts.unlink(missing_ok=True)
        self.run.start()


def _send(pid, number):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def repeats(sleeps, deaths, slack=3.0):
    """(those that a death explains, those that none does) of the times that a frame was begun again.

    A death of its job explains it if it came after the frame was begun there, `slack` s of clocks and of ways to a
    log apart.
    """
    begun = defaultdict(list)
    for what, frame, job, when in sleeps:
        if what == "begin":
            begun[frame].append((when, job))
    explained, other = [], []
    for frame, times in begun.items():
        for (when, job), (again, _) in zip(sorted(times), sorted(times)[1:], strict=False):
            dead = any(when - slack <= death <= again + slack for death in deaths.get(job, ()))
            (explained if dead else other).append((frame, job, round(again - when, 1)))
    return explained, other


def left(marker, cluster, seconds):
    """The jobs and processes of a run that are still there after so many seconds."""
    end = time.time() + seconds
    while True:
        jobs = cluster.run("squeue", "-h", "-o", "%i %T").split()
        there = processes(marker)
        if not (jobs or there) or time.time() > end:
            return jobs, there
        time.sleep(1)
