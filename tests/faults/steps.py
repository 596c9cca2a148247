"""Run psiflow and kill it at one of its steps that last: python steps.py NUMBER HOW psiflow's arguments ...

A step is a call that writes, syncs, renames or removes. With HOW `before` the process dies before the step of this
number, with `torn` in the middle of it if it writes. With NUMBER 0 it lives, and their count is its last line.
"""

import os
import signal
import sys

STEPS = ("write", "fsync", "fdatasync", "replace", "rename", "unlink", "ftruncate", "chmod")


def main(kill_at, how, arguments):
    count = 0

    def wrapped(name, real):
        def step(*args, **keywords):
            nonlocal count
            if name != "write" or args[0] > 2:  # stdout and stderr are no steps
                count += 1
                if count == kill_at:
                    if how == "torn" and name == "write":
                        real(args[0], bytes(args[1])[: len(args[1]) // 2])
                    os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **keywords)

        return step

    from psiflow_cli.main import main as psiflow

    for name in STEPS:
        setattr(os, name, wrapped(name, getattr(os, name)))
    try:
        psiflow(arguments)
    finally:
        print(count)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
