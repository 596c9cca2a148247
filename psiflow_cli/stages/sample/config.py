"""The file of `sample --config`: what few people change about their dynamics, each key checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, cast

import msgspec

from psiflow_cli import toml
from psiflow_cli.elements import SYMBOLS
from psiflow_cli.errors import BadConfig, nearest
from psiflow_cli.values import quantities

if TYPE_CHECKING:
    from psiflow_cli.messages import DynamicsFile

Positive = Annotated[float, msgspec.Meta(gt=0)]
Index = Annotated[int, msgspec.Meta(ge=0)]


class SamplingFile(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Times in fs (or texts such as "1 ps"), masses in u; atoms are counted from 0."""

    thermostat_time: Positive = 100.0  # time constant of `csvr` and `nose-hoover`
    chain_length: Annotated[int, msgspec.Meta(ge=1, le=10)] = 3  # of Nose-Hoover chains
    barostat_time: Positive = 1000.0  # time constant of the cell
    masses: dict[str, Positive] = {}
    """Masses that replace the standard ones: { H = 2.014 }. A frame's `masses` column takes precedence."""
    fixed: list[Index] = []
    """Atoms that do not move, in every frame, in addition to those of its `move_mask` column."""


def read(path: str | None) -> DynamicsFile:
    """The file's values and the defaults of the others. Raises BadConfig with the file and the key."""
    if path is None:
        return cast("DynamicsFile", msgspec.to_builtins(SamplingFile()))
    try:
        table = toml.load(path, BadConfig)
    except OSError as error:
        raise BadConfig(f"{path}: {error.strerror or error}", "check the path given with --config") from None
    for key in table:
        if key not in SamplingFile.__struct_fields__:
            raise BadConfig(f"{path}: {key}: unknown key", nearest(key, list(SamplingFile.__struct_fields__)))
    for key in ("thermostat_time", "barostat_time"):
        if isinstance(table.get(key), str):
            try:
                table[key] = quantities.number(table[key], "fs")
            except ValueError as error:
                raise BadConfig(f"{path}: {key}: {error}", 'as in 100 or "0.1 ps"') from None
    try:
        settings = msgspec.convert(table, SamplingFile)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$.")
        problem = f"{path}: {where.rstrip('`')}: {what}"
        raise BadConfig(problem, "psiflow sample --config-schema shows the valid settings") from None
    for symbol in settings.masses:
        if symbol not in SYMBOLS:
            raise BadConfig(f"{path}: masses: {symbol!r} is not an element", nearest(symbol, list(SYMBOLS)))
    return cast("DynamicsFile", msgspec.to_builtins(settings))


def json_schema() -> dict[str, object]:
    """A JSON schema (draft 2020-12) of the file."""
    schema = msgspec.json.schema(SamplingFile)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "psiflow sampling file", **schema}
