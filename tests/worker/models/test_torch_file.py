"""What a file of torch.save says is read without running any of it."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path

import pytest

from psiflow_cli.worker.models import torch_file


class Evil:
    """Running what was saved of it makes a file."""

    heads = ("a",)

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch pwned",)


def saved(path: Path, content: object) -> Path:
    """A file as torch.save lays it out."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data.pkl", pickle.dumps(content))
        archive.writestr("model/version", "3")
    return path


def test_nothing_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = saved(tmp_path / "evil.model", {"heads": ["a", "b"], "model": Evil()})
    assert torch_file.attributes(path)["heads"] == ["a", "b"]
    assert torch_file.attributes(saved(path, Evil())) == {}
    assert not Path("pwned").exists()
    pickle.loads(pickle.dumps(Evil()))
    assert Path("pwned").exists(), "this test would not notice what is run"


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no model", pickle.dumps({"heads": ["a"]})])
def test_any_other_file_says_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.model").write_bytes(content)
    assert torch_file.attributes(tmp_path / "a.model") == {}
    assert torch_file.attributes(saved(tmp_path / "b.model", ["a list"])) == {}
    assert torch_file.attributes(tmp_path / "none.model") == {}
