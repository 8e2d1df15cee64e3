"""A Merkle tree that only grows, kept in tiles. Pure.

Hashes and trees are those of RFC 6962, section 2.1; tiles are those of C2SP's tlog-tiles: a tile of level L holds up to
256 hashes, each of a perfect tree of 256**L leaves. What lies between is computed from them. `Hashes` gives the
hashes of a tile; whoever appends needs the rightmost tile of each level alone (`Edge`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce

from audit.handlers.log.verifier import node_hash, split

HEIGHT = 8
WIDTH = 1 << HEIGHT
HASH_BYTES = 32

# The hashes of the tile of a level and an index, of which so many are wanted at least.
Hashes = Callable[[int, int, int], Sequence[bytes]]


@dataclass(frozen=True)
class Tile:
    """The hashes of a tile of `level` at `index`: WIDTH of them in a full one, at least one in another."""

    level: int
    index: int
    hashes: tuple[bytes, ...]

    @property
    def path(self) -> str:
        """Where a log serves it."""
        return tile_path(str(self.level), self.index, len(self.hashes))

    @property
    def content(self) -> bytes:
        """What a log serves there."""
        return b"".join(self.hashes)


def tile_path(kind: str, index: int, width: int) -> str:
    """The path of a tile: `kind` is a level, or "entries". The index is in groups of three digits."""
    groups = [f"{index % 1000:03}"]
    while index := index // 1000:
        groups.insert(0, f"x{index % 1000:03}")
    partial = f".p/{width}" if width < WIDTH else ""
    return f"tile/{kind}/{'/'.join(groups)}{partial}"


def hashes_of(content: bytes) -> tuple[bytes, ...]:
    """The hashes in a tile's content. ValueError when it is no tile's."""
    if len(content) % HASH_BYTES or not 0 < len(content) <= WIDTH * HASH_BYTES:
        raise ValueError(f"{len(content)} bytes are no tile")
    return tuple(content[at : at + HASH_BYTES] for at in range(0, len(content), HASH_BYTES))


@dataclass(frozen=True)
class Edge:
    """The right edge of a tree of `size` leaves: of each level that has one, the hashes of its partial tile."""

    size: int = 0
    tiles: tuple[tuple[bytes, ...], ...] = ()

    @classmethod
    def read(cls, size: int, hashes: Hashes) -> Edge:
        """The edge of a kept tree."""
        tiles = []
        for level in range(_levels(size)):
            full, width = divmod(size >> (HEIGHT * level), WIDTH)
            tiles.append(tuple(hashes(level, full, width)[:width]) if width else ())
        return cls(size, tuple(tiles))

    def root(self) -> bytes:
        """The hash of the whole tree; that of nothing when it is empty."""
        peaks = [peak for tile in reversed(self.tiles) for peak in _peaks(tile)]
        if not peaks:
            return hashlib.sha256(b"").digest()
        return reduce(lambda right, left: node_hash(left, right), reversed(peaks))

    def append(self, leaves: Sequence[bytes]) -> tuple[Edge, list[Tile]]:
        """The edge with these leaves' hashes at its end, and every tile that is other than before: those that got full,
        and those that are still partial."""
        tiles = [list(tile) for tile in self.tiles]
        written, new, size, level = list[Tile](), list(leaves), self.size, 0
        while new:
            if level == len(tiles):
                tiles.append([])
            index = (size >> (HEIGHT * level)) // WIDTH
            every = tiles[level] + new
            full = [tuple(every[at : at + WIDTH]) for at in range(0, len(every) - WIDTH + 1, WIDTH)]
            written += [Tile(level, index + number, hashes) for number, hashes in enumerate(full)]
            tiles[level] = every[len(full) * WIDTH :]
            if tiles[level]:
                written.append(Tile(level, index + len(full), tuple(tiles[level])))
            new, level = [_perfect(hashes) for hashes in full], level + 1
        return Edge(size + len(leaves), tuple(map(tuple, tiles))), written


def inclusion(index: int, size: int, hashes: Hashes) -> list[bytes]:
    """The proof that the leaf at `index` is in the tree of `size` leaves (RFC 6962, 2.1.1).

    ValueError when there is none such.
    """
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} leaves has none at {index}")
    return list(_inclusion(index, 0, size, hashes))


def consistency(old: int, size: int, hashes: Hashes) -> list[bytes]:
    """The proof that the tree of `size` leaves begins with that of `old` (RFC 6962, 2.1.2).

    ValueError when it can't.
    """
    if not 0 <= old <= size:
        raise ValueError(f"a tree of {size} leaves has not grown from one of {old}")
    return list(_consistency(old, 0, size, True, hashes)) if 0 < old < size else []


def _inclusion(index: int, begin: int, end: int, hashes: Hashes) -> Iterator[bytes]:
    if end - begin == 1:
        return
    middle = begin + split(end - begin)
    if index < middle:
        yield from _inclusion(index, begin, middle, hashes)
        yield subtree(middle, end, hashes)
    else:
        yield from _inclusion(index, middle, end, hashes)
        yield subtree(begin, middle, hashes)


def _consistency(old: int, begin: int, end: int, whole: bool, hashes: Hashes) -> Iterator[bytes]:
    """`whole`: what is `old` has been a tree by itself, whose hash the other side has."""
    if old == end:
        if not whole:
            yield subtree(begin, end, hashes)
        return
    middle = begin + split(end - begin)
    if old <= middle:
        yield from _consistency(old, begin, middle, whole, hashes)
        yield subtree(middle, end, hashes)
    else:
        yield from _consistency(old, middle, end, False, hashes)
        yield subtree(begin, middle, hashes)


def subtree(begin: int, end: int, hashes: Hashes) -> bytes:
    """The hash of the leaves from `begin` to before `end`, where that begins as a tree's part does."""
    size = end - begin
    if size & (size - 1) == 0:
        level, within = divmod(size.bit_length() - 1, HEIGHT)
        tile, at = divmod(begin >> (HEIGHT * level), WIDTH)
        return _perfect(hashes(level, tile, at + (1 << within))[at : at + (1 << within)])
    middle = begin + split(size)
    return node_hash(subtree(begin, middle, hashes), subtree(middle, end, hashes))


def _levels(size: int) -> int:
    """How many levels of tiles a tree has."""
    return -(-size.bit_length() // HEIGHT)


def _perfect(hashes: Sequence[bytes]) -> bytes:
    """The hash over a power of two of hashes."""
    while len(hashes) > 1:
        hashes = [node_hash(hashes[at], hashes[at + 1]) for at in range(0, len(hashes), 2)]
    return hashes[0]


def _peaks(tile: Sequence[bytes]) -> Iterator[bytes]:
    """The hashes of the perfect trees that a partial tile is made of, the largest first."""
    at = 0
    for height in reversed(range(HEIGHT)):
        if len(tile) >> height & 1:
            yield _perfect(tile[at : at + (1 << height)])
            at += 1 << height
