"""Which files go along with a CP2K template, and which stay where CP2K is. No CP2K needed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from psiflow_cli.errors import BadData
from psiflow_cli.references import cp2k
from tests.references.test_cp2k_template import TEMPLATE


@pytest.fixture
def read(tmp_path: Path) -> Any:
    def settings(text: str) -> dict[str, Any]:
        (tmp_path / "cp2k.inp").write_text(text)
        return cp2k.settings(tmp_path / "cp2k.inp", {})

    return settings


def test_files_beside_the_template_travel_with_it(read: Any, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "BASIS").write_text("O mine\n")
    (tmp_path / "kinds.inc").write_text("&KIND N\n&END\n")
    text = TEMPLATE.replace("BASIS_MOLOPT", "mine/BASIS").replace("&KIND O", "@INCLUDE kinds.inc\n&KIND O", 1)
    found = read(text)
    assert found["files"] == {"BASIS": "O mine\n"}
    assert "BASIS_SET_FILE_NAME BASIS\n" in found["template"]
    assert "&KIND N" in found["template"]
    (tmp_path / "mine" / "BASIS").write_text("O other\n")
    assert read(text) != found


def test_two_files_of_one_name(read: Any, tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "BASIS").write_text(name)
    both = "BASIS_SET_FILE_NAME a/BASIS\n BASIS_SET_FILE_NAME b/BASIS"
    assert read(TEMPLATE.replace("BASIS_SET_FILE_NAME BASIS_MOLOPT", both))["files"] == {"BASIS": "a", "BASIS.2": "b"}


FIELD = "&XC\n&HF\n&INTERACTION_POTENTIAL\n{}\n&END\n&END\n&END\n&MGRID"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory of CP2K's, by the variable."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "BASIS_MOLOPT").write_text("CP2K's\n")
    monkeypatch.setenv("CP2K_DATA_DIR", str(folder))
    return folder


def test_files_from_beside_and_from_the_data_directory(read: Any, tmp_path: Path, data: Path) -> None:
    (tmp_path / "table.dat").write_text("1 2 3\n")
    found = read(TEMPLATE.replace("&MGRID", FIELD.format("T_C_G_DATA 'table.dat'")))
    assert found["files"] == {"table.dat": "1 2 3\n"}
    assert "T_C_G_DATA table.dat\n" in found["template"]
    assert read(TEMPLATE)["files"] == {}, "what comes with CP2K stays with it"
    (data / "OURS").write_text("one\n")
    ours = read(TEMPLATE.replace("BASIS_MOLOPT", "OURS"))
    assert ours["files"] == {"OURS": "one\n"}
    (data / "OURS").write_text("two\n")
    assert read(TEMPLATE.replace("BASIS_MOLOPT", "OURS")) != ours


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("./nope/BASIS", "no such file", "relative to the template"),
        ("/apps/cp2k/data/BASIS_MOLOPT", "no such file", "for CP2K's own file, write BASIS_MOLOPT"),
        ("BASIS_MOLOTP", "found neither beside the template nor in", "beside the template"),
    ],
)
def test_files_that_are_nowhere(read: Any, data: Path, name: str, message: str, hint: str) -> None:
    with pytest.raises(BadData) as caught:
        read(TEMPLATE.replace("BASIS_MOLOPT", name))
    assert re.search(rf"cp2k\.inp:4: BASIS_SET_FILE_NAME \S+: {message}", caught.value.message)
    assert hint in caught.value.hint


def test_a_file_may_be_where_only_the_workers_see_it(
    read: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CP2K_DATA_DIR", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert read(TEMPLATE.replace("BASIS_MOLOPT", "THEIRS"))["files"] == {}


def test_restart_files_stay_behind(read: Any, tmp_path: Path) -> None:
    (tmp_path / "old-RESTART.wfn").write_bytes(b"\x00\x01\xff")
    found = read(TEMPLATE.replace("&MGRID", "WFN_RESTART_FILE_NAME old-RESTART.wfn\n&MGRID"))
    assert found == read(TEMPLATE)
    read(TEMPLATE.replace("&MGRID", "RESTART_FILE_NAME nowhere/old.wfn\n&MGRID"))
    assert cp2k.replaced(tmp_path / "cp2k.inp") == ["FORCE_EVAL/DFT/RESTART_FILE_NAME"]


TIGHT_BINDING = (
    "&QS\nMETHOD DFTB\n&DFTB\n&PARAMETER\nPARAM_FILE_PATH {}\nPARAM_FILE_NAME list\n&END\n&END\n&END\n&MGRID"
)


def test_a_folder_of_parameters(read: Any, tmp_path: Path) -> None:
    (tmp_path / "skf").mkdir()
    (tmp_path / "skf" / "list").write_text("O H oh.spl\n")
    (tmp_path / "skf" / "oh.spl").write_text("0 1\n")
    found = read(TEMPLATE.replace("&MGRID", TIGHT_BINDING.format("./skf")))
    assert found["files"] == {"list": "O H oh.spl\n", "oh.spl": "0 1\n"}
    assert "PARAM_FILE_PATH ./\n" in found["template"]
    for shipped in ("DFTB/scc", "./DFTB/scc"):
        assert read(TEMPLATE.replace("&MGRID", TIGHT_BINDING.format(shipped)))["files"] == {}
    with pytest.raises(BadData, match="no such folder"):
        read(TEMPLATE.replace("&MGRID", TIGHT_BINDING.format("./nope")))
    (tmp_path / "DFTB").mkdir()
    (tmp_path / "skf").rename(tmp_path / "DFTB" / "scc")  # what lies beside the input comes first, as in CP2K
    assert read(TEMPLATE.replace("&MGRID", TIGHT_BINDING.format("DFTB/scc")))["files"] == found["files"]


def test_what_a_run_keeps_of_them_is_short(read: Any, tmp_path: Path) -> None:
    (tmp_path / "BASIS").write_text("O mine\n" * 1000)
    found = read(TEMPLATE.replace("BASIS_MOLOPT", "BASIS"))
    kept = cp2k.identity(found)
    assert len(kept["files"]["BASIS"]) == 64
    assert kept["template"] == found["template"]
    (tmp_path / "BASIS").write_text("O mine\n" * 1001)
    assert cp2k.identity(read(TEMPLATE.replace("BASIS_MOLOPT", "BASIS"))) != kept
