"""P1: what `psiflow --help`, a command's help and `psiflow status` take, against Python itself and mace_run_train."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from pairs import compare, seconds

BIN = Path(sys.executable).parent
PSIFLOW = str(BIN / "psiflow")


def main(full: bool = False) -> None:
    """Each command that must start at once."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed psiflow has its bytecode
    with tempfile.TemporaryDirectory() as empty:

        def psiflow(*arguments: str) -> float:
            return seconds([PSIFLOW, *arguments], cwd=empty)

        for arguments in (["--help"], ["label", "--help"], ["status"]):
            name = " ".join(["psiflow", *arguments])
            compare(
                f"P1 {name} / python -c pass",
                lambda a=arguments: psiflow(*a),
                lambda: seconds([sys.executable, "-c", "pass"]),
                "<= 5",
                repeats=25 if full else 15,
            )
        if (BIN / "mace_run_train").exists():
            trainer = [str(BIN / "mace_run_train"), "--help"]
            compare(
                "P1 psiflow --help / mace_run_train --help",
                lambda: psiflow("--help"),
                lambda: seconds(trainer),
                "<= 0.02",
            )
        if (BIN / "janus").exists():
            janus = [str(BIN / "janus"), "--help"]
            compare("P1 psiflow --help / janus --help", lambda: psiflow("--help"), lambda: seconds(janus), "<= 0.35")


if __name__ == "__main__":
    main()
