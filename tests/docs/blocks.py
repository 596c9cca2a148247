"""The fenced blocks of a page in Markdown, and how they are run.

A comment before a block says what it is: `<!-- file: NAME -->` is written to NAME, `<!-- full -->` takes minutes, and
`<!-- not run: reason -->` cannot be run by a test. Any other block of `sh` or `console` is run.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

_FENCE = re.compile(r"(?:<!-- (?P<mark>.+?) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_SEPARATORS = re.compile(r"\|\||&&|[|;<>]")


class Block(NamedTuple):
    """One block, and the line it begins at."""

    line: int
    mark: str
    language: str
    text: str

    @property
    def runs(self) -> bool:
        """Whether it is shell text that a test may run."""
        return self.language in ("sh", "console") and not self.mark.startswith("not run: ")

    @property
    def script(self) -> str:
        """What is typed; of a console, the lines with a prompt."""
        if self.language == "console":
            return "".join(line[2:] for line in self.text.splitlines(keepends=True) if line.startswith("$ "))
        return self.text


def blocks(page: Path) -> list[Block]:
    """Every block, in order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(text.count("\n", 0, m.start("language")) + 1, m["mark"] or "", m["language"], m["text"])
        for m in _FENCE.finditer(text)
    ]


def commands(block: Block) -> Iterator[list[str]]:
    """The words of every call of `psiflow`."""
    for line in block.script.replace("\\\n", " ").splitlines():
        for part in _SEPARATORS.split(line.partition(" #")[0]):
            words = shlex.split(part, comments=True)
            if words[:1] == ["psiflow"]:
                yield words[1:]


def play(page: Path, folder: Path, environment: Mapping[str, str], full: bool, shorter: Mapping[str, str]) -> int:
    """Write the page's files and run its blocks in order; returns how many were run.

    `shorter` replaces patterns, so that a block takes seconds. Raises AssertionError with what a block has printed.
    """
    count = 0
    for block in blocks(page):
        if block.mark.startswith("file: "):
            (folder / block.mark.removeprefix("file: ")).write_text(block.text)
        if not block.runs or (block.mark == "full" and not full):
            continue
        script = block.script
        for pattern, instead in shorter.items():
            script = re.sub(pattern, instead, script)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script], cwd=folder, env={**os.environ, **environment},
            capture_output=True, text=True, timeout=1200,
        )  # fmt: skip
        assert done.returncode == 0, f"{page}:{block.line}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr, f"{page}:{block.line}\n{done.stderr}"
        count += 1
    return count
