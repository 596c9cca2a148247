"""One file per command: parse the command line, make a job, run its stage, say what happened."""
