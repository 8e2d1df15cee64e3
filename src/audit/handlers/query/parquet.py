"""Parquet, as little of it as events need: one page a column of a row group, PLAIN, packed by gzip. Pure.

The format is Apache Parquet's (its `parquet.thrift`, in Thrift's compact protocol). Row groups stand behind one
another, and where they are is said at the end of the file alone: so a file can be made in steps, when what was made is
remembered.
"""

from __future__ import annotations

import gzip
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

MAGIC = b"PAR1"
TEXT, TIME = "text", "time"  # kinds of columns: UTF-8, and microseconds since 1970 (UTC)

# The numbers that parquet.thrift has for them.
_INT64, _BYTE_ARRAY = 2, 6
_OPTIONAL = 1
_UTF8, _TIMESTAMP_MICROS = 0, 10  # of old, for readers of old
_GZIP, _DATA_PAGE, _PLAIN, _RLE = 2, 0, 0, 3
# And those that the compact protocol has for kinds of values.
_TRUE, _I32, _I64, _BINARY, _LIST, _STRUCT = 1, 5, 6, 8, 9, 12

Field = tuple[int, int, bytes]  # its number, its kind, its value
Columns = Sequence[tuple[str, str]]  # name, kind
Row = Sequence[str | int | None]


@dataclass(frozen=True)
class Group:
    """A row group that is in a file: how many rows, where it begins, and of each column how many bytes: unpacked,
    packed."""

    rows: int
    at: int
    sizes: Sequence[tuple[int, int]]


def group(columns: Columns, rows: Sequence[Row], at: int) -> tuple[bytes, Group]:
    """A row group that is to stand at that byte of a file, and what is to be remembered of it."""
    chunks, sizes = [], []
    for number, (_, kind) in enumerate(columns):
        page = _page([row[number] for row in rows], kind)
        packed = gzip.compress(page, compresslevel=6, mtime=0)
        head = _page_header(len(rows), len(page), len(packed))
        chunks.append(head + packed)
        sizes.append((len(head) + len(page), len(head) + len(packed)))
    return b"".join(chunks), Group(len(rows), at, sizes)


def footer(columns: Columns, groups: Sequence[Group]) -> bytes:
    """What a file of these groups ends with."""
    root = _record((4, _BINARY, _text("schema")), (5, _I32, _int(len(columns))))
    schema = _list(_STRUCT, [root, *(_column(*column) for column in columns)])
    content = _record(
        (1, _I32, _int(2)),
        (2, _LIST, schema),
        (3, _I64, _int(sum(one.rows for one in groups))),
        (4, _LIST, _list(_STRUCT, [_group(columns, one) for one in groups])),
    )
    return content + struct.pack("<I", len(content)) + MAGIC


def _page(values: Sequence[str | int | None], kind: str) -> bytes:
    """A page's content: which values there are, then those."""
    there = b"".join(
        _varint(len([*run]) << 1) + bytes([level])
        for level, run in groupby(int(value is not None) for value in values)
    )
    return struct.pack("<I", len(there)) + there + b"".join(_plain(values, kind))


def _plain(values: Sequence[str | int | None], kind: str) -> Iterator[bytes]:
    for value in values:
        if isinstance(value, str):
            content = value.encode()
            yield struct.pack("<I", len(content)) + content
        elif value is not None:
            yield struct.pack("<q", value)


def _page_header(rows: int, size: int, packed: int) -> bytes:
    data = _record(
        (1, _I32, _int(rows)), (2, _I32, _int(_PLAIN)), (3, _I32, _int(_RLE)), (4, _I32, _int(_RLE))
    )
    return _record(
        (1, _I32, _int(_DATA_PAGE)), (2, _I32, _int(size)), (3, _I32, _int(packed)), (5, _STRUCT, data)
    )


def _column(name: str, kind: str) -> bytes:
    """What the schema says of a column."""
    if kind == TIME:
        micros = _record((2, _STRUCT, _record()))
        old, logical = _TIMESTAMP_MICROS, (8, _STRUCT, _record((1, _TRUE, b""), (2, _STRUCT, micros)))
    else:
        old, logical = _UTF8, (1, _STRUCT, _record())
    return _record(
        (1, _I32, _int(_type(kind))),
        (3, _I32, _int(_OPTIONAL)),
        (4, _BINARY, _text(name)),
        (6, _I32, _int(old)),
        (10, _STRUCT, _record(logical)),
    )


def _group(columns: Columns, one: Group) -> bytes:
    chunks, at = [], one.at
    for (name, kind), (size, packed) in zip(columns, one.sizes, strict=True):
        about = _record(
            (1, _I32, _int(_type(kind))),
            (2, _LIST, _list(_I32, [_int(_PLAIN), _int(_RLE)])),
            (3, _LIST, _list(_BINARY, [_text(name)])),
            (4, _I32, _int(_GZIP)),
            (5, _I64, _int(one.rows)),
            (6, _I64, _int(size)),
            (7, _I64, _int(packed)),
            (9, _I64, _int(at)),
        )
        chunks.append(_record((2, _I64, _int(0)), (3, _STRUCT, about)))
        at += packed
    return _record(
        (1, _LIST, _list(_STRUCT, chunks)),
        (2, _I64, _int(sum(size for size, _ in one.sizes))),
        (3, _I64, _int(one.rows)),
    )


def _type(kind: str) -> int:
    return _INT64 if kind == TIME else _BYTE_ARRAY


def _record(*fields: Field) -> bytes:
    """A struct: its fields by rising number, then an end. That a field is true is said by its kind."""
    content, last = b"", 0
    for number, kind, value in fields:
        content += bytes([(number - last) << 4 | kind]) + value
        last = number
    return content + b"\0"


def _list(kind: int, items: Sequence[bytes]) -> bytes:
    short = len(items) < 15
    head = bytes([len(items) << 4 | kind]) if short else bytes([0xF0 | kind]) + _varint(len(items))
    return head + b"".join(items)


def _text(text: str) -> bytes:
    return _varint(len(text.encode())) + text.encode()


def _int(value: int) -> bytes:
    """A number that is not negative: zigzag has it doubled."""
    return _varint(value << 1)


def _varint(value: int) -> bytes:
    content = bytearray()
    while value > 0x7F:
        content.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*content, value])
