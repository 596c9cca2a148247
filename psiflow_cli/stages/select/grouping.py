"""Frames that belong together, and parts that keep the proportions of the kinds of frames."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from psiflow_cli.errors import BadData, nearest
from psiflow_cli.extxyz import Frame

COMPOSITION = "composition"  # in place of a key: frames of the same atoms are of one kind
_MOST_KEYS = 1000


class Values:
    """What every frame has under one key of its comment line; each text is kept once."""

    def __init__(self, key: str) -> None:
        self._key = key
        self._keys: set[str] = set()
        self._known: dict[str, str] = {}
        self.of_frame: list[str | None] = []  # None where a frame lacks the key

    def see(self, frame: Frame) -> None:
        if self._key == COMPOSITION:
            value: object = composition(frame.symbols)
        else:
            value = frame.info.get(self._key)
            if value is None and len(self._keys) < _MOST_KEYS:
                self._keys.update(frame.info)
        self.of_frame.append(None if value is None else self._known.setdefault(str(value), str(value)))

    def check(self, file: str) -> None:
        """Raise BadData for a key that no frame has."""
        if not self._known:
            hint = nearest(self._key, sorted(self._keys)) if self._keys else "the frames have no keys"
            raise BadData(f"{file}: no frame has the key {self._key!r}", hint)


def composition(symbols: Iterable[str]) -> str:
    """Such as H2O: the elements in alphabetical order."""
    return "".join(f"{element}{count if count > 1 else ''}" for element, count in sorted(Counter(symbols).items()))


def together(keys: Sequence[int], groups: Sequence[str | None]) -> list[int]:
    """A number for each frame, equal for frames of one structure or of one group, or linked by a chain of such."""
    first: dict[int | str, int] = {}
    parent = list(range(len(keys)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = index = parent[parent[index]]
        return index

    for index, (key, group) in enumerate(zip(keys, groups, strict=True)):
        for node in (key, group):
            if node is not None:
                parent[root(index)] = root(first.setdefault(node, index))
    return [root(index) for index in range(len(keys))]


def share_out(blocks: Sequence[int], kinds: Sequence[str | None], shares: dict[str, float], seed: int) -> list[str]:
    """The part of each frame: of each kind its share, as nearly as the blocks allow that stay whole.

    `blocks` are a number for each frame, `kinds` its kind; a block is of the kind that most of its frames are of. One
    kind after the other, and of each the large blocks first, a block goes to the part that lacks most frames of its
    share of those so far; so every kind, and all together, are as the shares say. No part stays empty. Raises BadData
    for fewer blocks than parts.
    """
    sizes = Counter(blocks)
    if len(sizes) < len(shares):
        what = f"too few groups of frames that stay together ({len(sizes)}) for {len(shares)} parts"
        raise BadData(what, "use fewer --parts, or another --group")
    of_block: defaultdict[int, Counter[str]] = defaultdict(Counter)
    for block, kind in zip(blocks, kinds, strict=True):
        of_block[block][kind or ""] += 1
    order = list(sizes)
    random.Random(seed).shuffle(order)
    order.sort(key=lambda block: (min(of_block[block].items(), key=lambda item: (-item[1], item[0]))[0], -sizes[block]))
    missing = dict.fromkeys(shares, 0.0)
    empty = set(shares)
    parts: dict[int, str] = {}
    for done, block in enumerate(order):
        for name, share in shares.items():
            missing[name] += share * sizes[block]
        candidates = [name for name in shares if name in empty] if len(order) - done <= len(empty) else list(shares)
        parts[block] = name = max(candidates, key=lambda candidate: round(missing[candidate], 6))
        missing[name] -= sizes[block]
        empty.discard(name)
    return [parts[block] for block in blocks]
