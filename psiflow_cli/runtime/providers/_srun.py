"""How `srun` starts the worker pools of a block of several nodes."""

OVERLAP = "$(srun --help 2>/dev/null | grep -q -e --overlap && echo --overlap)"
"""Shell text: lets steps that a task starts with `srun` run beside the pools, whose own step has all of the job.

From SLURM 20.11 on they would wait for its end; before, steps shared a job in any case, and there was no such option.
"""
