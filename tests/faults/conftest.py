"""Running the command as a user does, in an empty folder."""

from tests.commands.conftest import psiflow, start, trained

__all__ = ["psiflow", "start", "trained"]
