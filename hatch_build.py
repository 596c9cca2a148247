"""Install the man pages where man(1) looks for them: man/NAME.N goes to share/man/manN/NAME.N."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ManPages(BuildHookInterface):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add every man page to the wheel's shared data."""
        for page in sorted(Path(self.root, "man").glob("*.[1-9]")):
            build_data["shared_data"][str(page)] = f"share/man/man{page.suffix[1:]}/{page.name}"
