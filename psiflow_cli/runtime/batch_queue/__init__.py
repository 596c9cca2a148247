"""What the queues of batch systems say of jobs: one question for all commands, why a job waits, what it has cost."""
