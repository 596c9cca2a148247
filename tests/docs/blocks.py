"""The fenced blocks of a page in Markdown, and how they are run.

A comment before a block says what it is: `<!-- file: NAME -->` is written to NAME, `<!-- full -->` takes minutes
(`<!-- full: NAME -->` and needs the environment variable NAME), `<!-- not run: reason -->` cannot be run by a test, and
`<!-- output -->` is what the block above it prints (`<!-- output: varies -->` if more than its numbers differ from run
to run). Any other block of `sh` or `console` is run. `<!-- after: PAGE -->` anywhere on a page: it begins with the
files which that page leaves. A picture `../figures/NAME` is the file NAME that the blocks of its page write.
"""

from __future__ import annotations

import atexit
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

_FENCE = re.compile(
    r"(?:<!-- (?P<mark>[^\n]+) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
_SEPARATORS = re.compile(r"\|\||&&|[|;<>]")
_FIGURE = re.compile(r"!\[[^]]*\]\(\.\./figures/([^)]+)\)")
_AFTER = re.compile(r"<!-- after: (\S+) -->")
_PROGRESS = re.compile(r"^(?:psiflow: .*(?:\d/\d+|epoch \d+)|.*Warning: |  _Jd, |cuequivariance or ).*\n", re.MULTILINE)
"""Lines that come and go, of psiflow and of the libraries that a model loads."""

_played: dict[Path, Path] = {}
"""The folders of pages that other pages begin with."""


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

    def is_due(self, full: bool) -> bool:
        """Whether it is run here; `full` counts those that take minutes, too."""
        long, _, needed = self.mark.partition(": ")
        if not self.runs or long != "full":
            return self.runs
        return full and (not needed or needed in os.environ)

    @property
    def script(self) -> str:
        """What is typed; of a console, the lines with a prompt."""
        if self.language == "console":
            return "".join(line[2:] for line in self.text.splitlines(keepends=True) if line.startswith("$ "))
        return self.text


class Played(NamedTuple):
    """A block that was run, the block with its output on the page if there is one, and what it printed."""

    block: Block
    output: Block | None
    printed: str
    shortened: bool


def blocks(page: Path) -> list[Block]:
    """Every block, in order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(text.count("\n", 0, m.start("language")) + 1, m["mark"] or "", m["language"], m["text"])
        for m in _FENCE.finditer(text)
    ]


def figures(page: Path) -> list[str]:
    """The names of the pictures of a page, which its own blocks make."""
    return _FIGURE.findall(page.read_text(encoding="utf-8"))


def commands(block: Block) -> Iterator[list[str]]:
    """The words of every call of `psiflow`."""
    for line in block.script.replace("\\\n", " ").splitlines():
        for part in _SEPARATORS.split(line.partition(" #")[0]):
            words = shlex.split(part, comments=True)
            if words[:1] == ["psiflow"]:
                yield words[1:]


def play(
    page: Path, folder: Path, environment: Mapping[str, str], full: bool, shorter: Mapping[str, str]
) -> Iterator[Played]:
    """Write the page's files and run its blocks in order.

    `shorter` replaces patterns, so that a block takes seconds. Raises AssertionError with what a block has printed.
    """
    for earlier in _AFTER.findall(page.read_text(encoding="utf-8")):
        if (there := page.parent / earlier) not in _played:
            with tempfile.TemporaryDirectory(prefix="psiflow-page-") as name:
                for _ in play(there, Path(name), environment, full, shorter):
                    pass  # its own outputs are its page's
                keep(there, Path(name))
        shutil.copytree(_played[there], folder, dirs_exist_ok=True)
    every = blocks(page)
    for block, after in zip(every, [*every[1:], None], strict=True):
        if block.mark.startswith("file: "):
            (folder / block.mark.removeprefix("file: ")).write_text(block.text)
        if not block.is_due(full):
            continue
        script = block.script
        for pattern, instead in shorter.items():
            script = re.sub(pattern, instead, script)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script], cwd=folder, env={**os.environ, **environment},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=3600,
        )  # fmt: skip
        assert done.returncode == 0, f"{page}:{block.line}: exit {done.returncode}\n{done.stdout}"
        assert "Traceback" not in done.stdout, f"{page}:{block.line}\n{done.stdout}"
        output = after if after and after.mark.startswith("output") else None
        printed = _PROGRESS.sub("", done.stdout).replace(f"{folder}/", "")
        yield Played(block, output, printed, script != block.script)


def keep(page: Path, folder: Path) -> None:
    """Copy what a page has left in its folder, for pages that begin there."""
    _played[page] = Path(tempfile.mkdtemp(prefix="psiflow-page-"))
    atexit.register(shutil.rmtree, _played[page], ignore_errors=True)
    shutil.copytree(folder, _played[page], dirs_exist_ok=True)


def shape(text: str) -> str:
    """A printed text without its numbers, checksums and the widths that follow from them."""
    text = re.sub(r"\b[0-9a-f]{12,}\b", "#", re.sub(r"\s+", " ", text))
    return re.sub(r"[\s?#]*#[\s?#]*", " # ", re.sub(r"[-+±]?\s*\d[\d.]*(e[-+]\d+)?", "#", text))
