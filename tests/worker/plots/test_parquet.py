"""CSV as Parquet."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from psiflow_cli.worker.failures import Fatal
from psiflow_cli.worker.plots.parquet import parquet

COLUMNS = {"walker": "int64", "temperature_K": "double", "pressure_bar": "double"}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Wide enough for pyarrow to read it in several pieces; the last walker, alone, has a pressure."""
    path = tmp_path / "table.csv"
    rows = [f"0,{300 + i / 7!r},\n" for i in range(100_000)] + ["1,1e-300,-0.1\n"]
    path.write_text(",".join(COLUMNS) + "\n" + "".join(rows))
    return path


def test_every_number_comes_through(source: Path, tmp_path: Path) -> None:
    table = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow")
    parquet(str(source), COLUMNS, str(tmp_path / "table.parquet"))
    found = table.read_table(tmp_path / "table.parquet")
    assert {field.name: str(field.type) for field in found.schema} == COLUMNS
    assert found["temperature_K"].to_pylist() == [*(300 + i / 7 for i in range(100_000)), 1e-300]
    assert found["pressure_bar"].to_pylist()[-2:] == [None, -0.1]
    assert found["walker"].to_pylist()[-2:] == [0, 1]
    first = (tmp_path / "table.parquet").read_bytes()
    parquet(str(source), COLUMNS, str(tmp_path / "table.parquet"))
    assert (tmp_path / "table.parquet").read_bytes() == first


def test_a_table_without_rows(tmp_path: Path) -> None:
    table = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow")
    (tmp_path / "table.csv").write_text(",".join(COLUMNS) + "\n")
    parquet(str(tmp_path / "table.csv"), COLUMNS, str(tmp_path / "table.parquet"))
    found = table.read_table(tmp_path / "table.parquet")
    assert (found.num_rows, found.column_names) == (0, list(COLUMNS))


def test_without_pyarrow_it_says_what_to_do(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.csv", None)
    with pytest.raises(Fatal, match="needs pyarrow in the workers' environment") as caught:
        parquet(str(source), COLUMNS, str(tmp_path / "table.parquet"))
    assert "give the name of a .csv file" in caught.value.hint
    assert not (tmp_path / "table.parquet").exists()
