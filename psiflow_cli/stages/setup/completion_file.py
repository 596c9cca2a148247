"""The file from which a shell learns how to complete `psiflow`: where it goes, and that nobody else's is replaced."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from psiflow_cli import atomic_file
from psiflow_cli.errors import CannotCreate

MARK = "# Written by psiflow completion install; another run of it replaces this file."
_BASH_COMPLETION = ("/usr/share/bash-completion", "/etc/bash_completion", "/usr/local/share/bash-completion")


def place(shell: str) -> Path:
    """Where the shell, or its package of completions, looks for a user's own. Raises CannotCreate without a HOME."""
    home = os.environ.get("HOME", "")
    data = os.environ.get("XDG_DATA_HOME") or (f"{home}/.local/share" if home else "")
    config = os.environ.get("XDG_CONFIG_HOME") or (f"{home}/.config" if home else "")
    if not (config if shell == "fish" else data):
        raise CannotCreate(
            "$HOME is not set, so the folder that the shell reads is not known", "print it with psiflow completion show"
        )
    return {
        "bash": Path(data, "bash-completion", "completions", "psiflow"),
        "zsh": Path(data, "zsh", "site-functions", "_psiflow"),
        "fish": Path(config, "fish", "completions", "psiflow.fish"),
    }[shell]


def write(path: Path, script: str, overwrite: bool) -> bool:
    """Write the script; False if it is there already. Raises CannotCreate for a file that psiflow did not write."""
    text = f"{script}{MARK}\n"
    if path.is_symlink() or path.exists():
        earlier = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
        if earlier == text and not path.is_symlink():
            return False
        if not overwrite and (MARK not in earlier or path.is_symlink()):
            raise CannotCreate(f"{path}: exists, and psiflow did not write it", "replace it with --overwrite")
        if path.is_dir():
            raise CannotCreate(f"{path}: is a folder", "print the script with psiflow completion show")
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_file.write(path, text, mode=0o644)
    return True


def advice(shell: str, path: Path) -> Iterator[str]:
    """What else a user has to do."""
    if shell == "zsh":
        yield f"add to ~/.zshrc, before compinit: fpath=({path.parent} $fpath)"
    elif shell == "bash" and not any(map(os.path.exists, _BASH_COMPLETION)):
        yield f"it is loaded by the package bash-completion, which was not found; add to ~/.bashrc: source {path}"
    yield "new shells complete psiflow"
