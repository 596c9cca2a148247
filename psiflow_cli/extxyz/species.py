"""Element symbols of the first column, and what a name that is no element may have meant."""

from __future__ import annotations

import re
from collections.abc import Sequence

from psiflow_cli.elements import SYMBOLS

_KNOWN = {symbol.encode(): symbol for symbol in SYMBOLS}


def symbols_of(species: Sequence[bytes]) -> list[str]:
    """Element symbols from a column of symbols (in any case, as ASE has it) or of atomic numbers.

    Raises KeyError with the first name that is no element.
    """
    try:
        return [_KNOWN[name] for name in species]
    except KeyError:
        return list(map(_symbol, species))


def _symbol(name: bytes) -> str:
    if name.isdigit() and len(name) <= 3 and 1 <= int(name) <= len(SYMBOLS):
        return SYMBOLS[int(name) - 1]
    symbol = _KNOWN.get(name.capitalize())
    if symbol is None:
        raise KeyError(name)
    return symbol


def suggestion(name: str) -> str:
    """A hint for a name that is no element."""
    if name.upper() == "X":
        return "X is a dummy; every atom must have an element"
    if name in ("D", "T"):
        return "write H: isotopes differ only in mass"
    letters = re.match(r"[A-Za-z]*", name)
    for length in (2, 1):
        guess = letters[0][:length].capitalize() if letters else ""
        if guess in SYMBOLS:
            return f"did you mean {guess!r}?"
    return "the first column holds element symbols, such as H, C or Fe"
