"""A room per step of the loop, a file per command: parse, make a job, run its stage, say what happened."""
