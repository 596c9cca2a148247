"""Windows: the values that `--vary` gives the names in PLUMED's input, `@NAME@`."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence

from psiflow_cli.errors import BadData, UsageError, counted, nearest
from psiflow_cli.stages.sample.trajectories import COLUMNS
from psiflow_cli.worker.md.plumed.window import NAME

MOST = 10_000
"""Windows of one command; a larger number is a slip."""
_RESERVED = frozenset(
    {*COLUMNS, "charge", "multiplicity", "bias_energy", "pbc", "energy", "forces", "stress", "virial", "Lattice"}
    | {
        "Properties",
        "species",
        "pos",
        "momenta",
        "velocities",
        "masses",
        "config_type",
        "psiflow_id",
        "target_pressure",
    }
)
"""What a frame says under these names is something else."""


def values(word: str) -> tuple[str, list[float]]:
    """`AT=1.0:3.0:16` (from, to, how many, both ends included) or `AT=1,2,5`, taken apart. Raises ValueError."""
    name, equals, given = (part.strip() for part in word.partition("="))
    if not equals or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        raise ValueError(f"{word!r} is not NAME=START:STOP:N or NAME=VALUE,VALUE")
    if name in _RESERVED:
        raise ValueError(f"{name} already has another meaning in frames; choose another name")
    try:
        if ":" in given:
            first, last, count = given.split(":")
            numbers = _between(float(first), float(last), int(count))
        else:
            numbers = [float(part) for part in given.split(",")]
    except ValueError:
        raise ValueError(f"{given!r} is neither START:STOP:N nor a comma-separated list of numbers") from None
    if not all(map(math.isfinite, numbers)):
        raise ValueError(f"{given!r}: not all values are finite")
    if not numbers or len(numbers) > MOST:
        raise ValueError(f"{given!r}: {counted(len(numbers), 'value')}; there must be 1 to {MOST}")
    if len({f"{number:.12g}" for number in numbers}) < len(numbers):
        raise ValueError(f"{given!r}: a value is given twice")
    return name, numbers


def products(ranges: Sequence[tuple[str, list[float]]]) -> list[dict[str, float]]:
    """Every combination of the values of several names, the last name's fastest. Raises UsageError."""
    names = [name for name, _ in ranges]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"--vary {name} is given twice", f"give all values at once, as in --vary {name}=1,2,5")
    if (count := math.prod(len(each) for _, each in ranges)) > MOST:
        raise UsageError(f"--vary makes {count} windows", f"at most {MOST} are possible")
    return [dict(zip(names, each, strict=True)) for each in itertools.product(*(each for _, each in ranges))]


def check(plumed: str, text: str, files: Mapping[str, str], names: Sequence[str]) -> None:
    """Raise BadData where PLUMED's input, or a file that it reads, has a name that has no value; or lacks one."""
    known = set()
    for source, content in {plumed: text, **files}.items():
        for number, name in _written(content):
            known.add(name)
            if name not in names:
                hint = nearest(name, list(names)) if names else f"give it one, as in --vary {name}=1.0:3.0:16"
                raise BadData(f"{source}:{number}: @{name}@ has no value", hint)
    for name in names:
        if name not in known:
            hint = nearest(name, sorted(known)) if known else f"write @{name}@ where the value goes"
            raise BadData(
                f"{plumed}: --vary {name}: neither this file nor the files that it reads contain @{name}@", hint
            )


def _between(first: float, last: float, count: int) -> list[float]:
    if count < 1 or count > MOST or (count == 1) != (first == last):
        raise ValueError
    return [first + (last - first) * index / max(count - 1, 1) for index in range(count)]


def _written(text: str) -> Iterator[tuple[int, str]]:
    """(line, name) of each name in a text, comments aside."""
    for number, line in enumerate(text.splitlines(), 1):
        for match in NAME.finditer(line.partition("#")[0]):
            yield number, match[1]
