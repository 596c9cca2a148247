"""Stands on PATH for sbatch, squeue, sacct and scancel, with the moods of a real queue: slow, broken, forgetful, full.

The folder of this program has a file for each mood. Without one, it is the real program of the same name, but for
sacct: an emulated cluster keeps no accounts, so it is put together from what squeue says, and misses young jobs.
"""

import itertools
import os
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

HERE = Path(__file__).parent
LAG_S = 15.0


def is_in(mood):
    return (HERE / mood).exists()


def fail(text):
    sys.exit(f"{Path(sys.argv[0]).name}: error: {text}")


def real(name):
    path = [folder for folder in os.environ["PATH"].split(":") if Path(folder) != HERE]
    os.environ["PATH"] = ":".join(path)
    os.execvp(name, [name, *sys.argv[1:]])


def lines(*options):
    path = ":".join(folder for folder in os.environ["PATH"].split(":") if Path(folder) != HERE)
    done = subprocess.run(
        ["squeue", "-h", "-t", "all", *options], capture_output=True, text=True, env={**os.environ, "PATH": path}
    )
    return done.stdout.splitlines()


def sacct():
    if not is_in("accounts"):
        fail("Slurm accounting storage is disabled")
    words = [part for word in sys.argv[1:] for part in word.split("=", 1)]
    following = dict(itertools.pairwise(words))
    named = next((following[word] for word in ("-j", "--job", "--jobs") if word in following), "")
    columns = next((following[word] for word in ("-o", "--format") if word in following), "jobid,state").split(",")
    jobs = set(named.split(","))
    between = "|" if {"-P", "--parsable2"} & set(sys.argv) else " "
    for line in lines("-o", "%i %T %V %N"):
        job, state, submitted, *nodes = line.split()
        young = time.time() - datetime.fromisoformat(submitted).timestamp() < LAG_S
        if job in jobs and not young:
            state = {"COMPLETING": "RUNNING", "CONFIGURING": "PENDING"}.get(state, state)
            known = {"jobid": job, "state": state, "nodelist": "".join(nodes)}
            print(between.join(known.get(column.split("%")[0].lower(), "") for column in columns))


def main():
    name = Path(sys.argv[0]).name
    if name != "sbatch" and is_in("slow"):
        time.sleep(10)
    if name != "sbatch" and is_in("broken"):
        fail("slurm_load_jobs error: Unable to contact slurm controller (connect failure)")
    if name == "squeue" and is_in("forgetful"):
        return
    if name == "sbatch" and is_in("full"):
        states = [line for line in lines("-o", "%T") if line in ("PENDING", "RUNNING", "COMPLETING", "CONFIGURING")]
        if len(states) >= 2:
            fail("Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size)")
    if name == "sacct":
        sacct()
    else:
        real(name)


main()
