"""Running the command as a user does, in an empty folder."""

from tests.commands.conftest import in_threads, psiflow, start, threads, trained

__all__ = ["in_threads", "psiflow", "start", "threads", "trained"]
