"""The name of a structure: equal for texts that parse to equal numbers, on every machine."""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Collection, Iterable
from itertools import chain
from typing import TYPE_CHECKING

from psiflow_cli.extxyz.frame import Frame

if TYPE_CHECKING:
    from psiflow_cli import messages

INPUTS = ("charge", "multiplicity")
MOMENTS, _MOMENTS = "initial_magmoms", "moments"
"""ASE's name of the atoms' initial magnetic moments (Bohr magnetons), and that of the input which they are."""
_DIGITS = 16
_NEGATIVE_ZERO = struct.pack("<d", -0.0)
# A name of digits alone, or as in 12e4, would be a number to those who read the frame back.
_NUMBER = re.compile(r"[0-9]+(?:[de][0-9]+)?")


def frame_id(frame: Frame, inputs: Collection[str] = INPUTS) -> str:
    """16 hex digits of the sha256 of what a method reads; an input that the frame lacks changes nothing.

    Hashed, in this order: the symbols, joined by spaces, and a line end; every x, every y, every z (Å) as
    little-endian float64; `cell` and its nine float64, row by row, or `none`; `T` or `F` for each direction of pbc;
    for each input in alphabetical order `;name=integer`; `;moments` and a float64 for each atom, where one is not zero
    and they are among the inputs. -0.0 counts as 0.0. Of the digest the first 16 digits in a
    row are taken that do not read as a number, nearly always the very first.
    """
    x, y, z = frame.xyz
    cell = b"none" if frame.lattice is None else b"cell" + struct.pack("<9d", *chain.from_iterable(frame.lattice))
    tail = "".join(["T" if flag else "F" for flag in frame.periodic])
    for name, value in given_inputs(frame, inputs).items():
        tail += f";{name}={value}"
    symbols = " ".join(frame.symbols).encode()
    parts = [symbols, b"\n", _float64([*x, *y, *z]), cell, tail.encode()]
    if moments := given_moments(frame, inputs):
        parts += [b";moments", _float64(moments)]
    hashed = b"".join(parts)
    return _digits(hashlib.sha256(hashed).hexdigest())


def _float64(numbers: list[float]) -> bytes:
    kind = f"<{len(numbers)}d"
    packed = struct.pack(kind, *numbers)
    if _NEGATIVE_ZERO in packed:  # or across two numbers, which then does no harm
        packed = struct.pack(kind, *[number + 0.0 for number in numbers])
    return packed


def _digits(digest: str) -> str:
    for start in range(len(digest) - _DIGITS + 1):
        name = digest[start : start + _DIGITS]
        if not _NUMBER.fullmatch(name):
            return name
    return digest[:_DIGITS]


def given_inputs(frame: Frame, inputs: Iterable[str]) -> dict[str, int]:
    """Those of the inputs that the comment gives, alphabetically; raises BadData for one that is not an integer."""
    return {name: _integer(frame, name) for name in sorted({pair.key for pair in frame.pairs}.intersection(inputs))}


def given_moments(frame: Frame, inputs: Collection[str]) -> list[float]:
    """The atoms' initial magnetic moments if they are among the inputs and not all zero; raises BadData for vectors."""
    column = frame.layout.find(MOMENTS)
    if column is None or _MOMENTS not in inputs:
        return []
    if column.size != 1 or column.kind not in "IR":
        raise frame.place.error(f"{MOMENTS} is not one number for each atom", "the moments are collinear here")
    moments = [float(moment) for moment in frame.column(MOMENTS)]
    return moments if any(moments) else []


def _integer(frame: Frame, name: str) -> int:
    value = frame.info[name]
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise frame.place.error(f"{name}={str(value)[:40]} is not an integer", f"as in {name}=1")
    if name == "multiplicity" and value < 1:
        raise frame.place.error(f"multiplicity={value} is less than 1", "it is 2S+1: 1 for a singlet")
    return value


def message(frame: Frame, inputs: Iterable[str] = INPUTS) -> messages.Frame:
    """The frame as it goes to a worker."""
    names = tuple(inputs)
    built: messages.Frame = {
        "id": frame_id(frame, names), "symbols": frame.symbols, "positions": frame.positions,
        "cell": frame.cell, "pbc": frame.pbc,
    }  # fmt: skip
    values = given_inputs(frame, names)
    if "charge" in values:
        built["charge"] = values["charge"]
    if "multiplicity" in values:
        built["multiplicity"] = values["multiplicity"]
    if moments := given_moments(frame, names):
        built["moments"] = moments
    return built
