"""The option that holds atoms of every frame."""

from __future__ import annotations

import click


def _indices(_ctx: click.Context, _param: click.Parameter, value: str | None) -> tuple[int, ...]:
    """`0,1,5-8` as numbers, in order."""
    indices: set[int] = set()
    for word in filter(None, (part.strip() for part in (value or "").split(","))):
        first, _, last = word.partition("-")
        if not first.isdecimal() or (last and not last.isdecimal()) or word.endswith("-"):
            raise click.BadParameter(f"{word!r} is neither an atom, such as 0, nor a range, such as 5-8")
        indices.update(range(int(first), int(last or first) + 1))
    return tuple(sorted(indices))


fixed = click.option("--fixed", metavar="I,J-K,...", callback=_indices,
    help="Indices of fixed atoms, counted from 0; atoms whose move_mask is F are fixed as well.")  # fmt: skip
