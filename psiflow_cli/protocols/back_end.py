"""What every back end states."""

from __future__ import annotations

from typing import Protocol


class BackEnd(Protocol):
    """What every back end states."""

    __name__: str
    SUMMARY: str  # one line for people
    REQUIRES: tuple[str, ...]  # Python packages that it imports in the worker
