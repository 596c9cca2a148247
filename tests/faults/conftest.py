"""Running the command as a user does, in an empty folder."""

from tests.commands.conftest import psiflow, start

__all__ = ["psiflow", "start"]
