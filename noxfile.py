"""Names for the parts of `tests/run.sh`, which makes its environments itself: `nox -s lint`, `nox -s tests -- ARGS`."""

from __future__ import annotations

import nox

nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "types", "tests"]


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff, the format, and shellcheck."""
    session.run("tests/run.sh", "--lint")


@nox.session
def types(session: nox.Session) -> None:
    """Mypy."""
    session.run("tests/run.sh", "--types")


@nox.session
def tests(session: nox.Session) -> None:
    """The tests; arguments go to pytest."""
    session.run("tests/run.sh", "--tests", *session.posargs)


@nox.session
def full(session: nox.Session) -> None:
    """All of it, with the long tests."""
    session.run("tests/run.sh", "--full", *session.posargs)
