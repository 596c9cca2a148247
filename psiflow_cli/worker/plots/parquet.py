"""A table of numbers as Parquet, where pyarrow is."""

from __future__ import annotations

import importlib

from psiflow_cli.errors import BAD_DATA
from psiflow_cli.worker.failures import Fatal


def parquet(source: str, columns: dict[str, str], path: str) -> None:
    """*worker*: a CSV file as Parquet; `columns` are types, int64 or double, by name. Raises Fatal without pyarrow."""
    try:
        csv, parquet = importlib.import_module("pyarrow.csv"), importlib.import_module("pyarrow.parquet")
    except ImportError:
        problem = "Parquet needs pyarrow in the workers' environment"
        raise Fatal(
            problem, "pip install pyarrow there, or give the name of a .csv file: nothing is computed again"
        ) from None
    types = csv.ConvertOptions(column_types=columns)
    with csv.open_csv(source, convert_options=types) as table, parquet.ParquetWriter(path, table.schema) as writer:
        for batch in table:
            writer.write_batch(batch)


def as_csv(source: str, path: str) -> None:
    """*worker*: a Parquet file as CSV. Raises Fatal for what is none."""
    try:
        csv, parquet = importlib.import_module("pyarrow.csv"), importlib.import_module("pyarrow.parquet")
        csv.write_csv(parquet.read_table(source), path)
    except ImportError:
        raise Fatal("Parquet needs pyarrow in the workers' environment", "pip install pyarrow there") from None
    except (OSError, ValueError) as error:
        problem = f"{source}: not a Parquet table: {' '.join(str(error).split())[:200]}"
        raise Fatal(problem, "give a table that psiflow sample --properties wrote", BAD_DATA) from None
