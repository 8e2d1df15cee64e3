"""Checks a transparency log with nothing but Python's standard library; this file runs by itself.

Hashes, trees and proofs are those of RFC 6962, section 2.1.
Checkpoints are C2SP's tlog-checkpoint: signed notes, by Ed25519 keys (RFC 8032).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

ED25519 = 1  # the kinds of keys of C2SP's signed-note
COSIGNATURE = 4
DASH = "\N{EM DASH} "


class Wrong(Exception):
    """Something is not as it should be; the text says where, and what."""


def leaf_hash(data: bytes) -> bytes:
    """The hash of a leaf."""
    return hashlib.sha256(b"\0" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of what has these two below it."""
    return hashlib.sha256(b"\1" + left + right).digest()


def split(size: int) -> int:
    """How many of a tree's leaves are below its left child: the largest power of two that is less."""
    return 1 << ((size - 1).bit_length() - 1)


def check_inclusion(leaf: bytes, index: int, size: int, root: bytes, proof: Sequence[bytes]) -> None:
    """Wrong unless the proof shows that the leaf of that hash is at `index` in the tree of `size` and `root`."""
    if not 0 <= index < size:
        raise Wrong(f"a tree of {size} leaves has none at {index}")
    rest = list(proof)
    if _root_above(leaf, index, size, rest) != root or rest:
        raise Wrong(f"leaf {index} is not in the tree of {size} leaves")


def check_consistency(old: int, old_root: bytes, size: int, root: bytes, proof: Sequence[bytes]) -> None:
    """Wrong unless the proof shows that the tree of `size` leaves begins with all of the one of `old`."""
    if old > size:
        raise Wrong(f"the log has been cut: it had {old} leaves, and has {size}")
    rest = list(proof)
    if old == 0:
        begins = old_root == hashlib.sha256(b"").digest()
    else:
        begins = _roots(old, size, old_root, rest) == (old_root, root)
    if not begins or rest:
        raise Wrong(f"the log of {size} leaves does not begin with that of {old}: it has been rewritten")


def _root_above(leaf: bytes, index: int, size: int, rest: list[bytes]) -> bytes:
    """The root that a proof leads to; what it used is taken from the end of `rest`, where the root's child is."""
    if size == 1:
        return leaf
    other, left = _next(rest), split(size)
    if index < left:
        return node_hash(_root_above(leaf, index, left, rest), other)
    return node_hash(other, _root_above(leaf, index - left, size - left, rest))


def _roots(old: int, size: int, known: bytes | None, rest: list[bytes]) -> tuple[bytes, bytes]:
    """The roots of `old` and of `size` leaves that a proof leads to; likewise. `known`: that of `old`, where these have
    been a tree by themselves."""
    if old == size:
        whole = known or _next(rest)
        return whole, whole
    other, left = _next(rest), split(size)
    if old <= left:
        before, after = _roots(old, left, known, rest)
        return before, node_hash(after, other)
    before, after = _roots(old - left, size - left, None, rest)
    return node_hash(other, before), node_hash(other, after)


def _next(rest: list[bytes]) -> bytes:
    if not rest:
        raise Wrong("the proof is too short")
    return rest.pop()


@dataclass(frozen=True)
class Key:
    """Who signs: a name, the kind of key (ED25519 or COSIGNATURE), and its 32 public bytes."""

    name: str
    kind: int
    public: bytes

    @classmethod
    def parse(cls, text: str) -> Key:
        """The key that a text (`<name>+<hash>+<base64>`) says. Wrong when it is none."""
        name, _, rest = text.strip().partition("+")
        claimed, _, encoded = rest.partition("+")
        try:
            content = base64.b64decode(encoded, validate=True)
            found = cls(name, content[0], content[1:])
            right = found.identity.hex() == claimed and len(found.public) == 32
        except (binascii.Error, IndexError):
            right = False
        if not right:
            raise Wrong(f"no public key: {text.strip()!r}")
        return found

    @property
    def identity(self) -> bytes:
        """Four bytes that a signature names its key by."""
        return hashlib.sha256(f"{self.name}\n".encode() + bytes([self.kind]) + self.public).digest()[:4]

    def __str__(self) -> str:
        content = base64.b64encode(bytes([self.kind]) + self.public).decode()
        return f"{self.name}+{self.identity.hex()}+{content}"


@dataclass(frozen=True)
class Checkpoint:
    """What a log was at some time: so many leaves, and their root hash."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """What is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """The checkpoint that a note's text is. Wrong when it is none."""
        lines = text.split("\n")
        try:
            origin, size, root = lines[:3]
            found = cls(origin, int(size), base64.b64decode(root, validate=True))
            right = bool(origin) and size == str(found.size) and found.size >= 0 and len(found.root) == 32
        except (ValueError, binascii.Error):
            right = False
        if not right or text[-1:] != "\n" or "" in lines[3:-1]:
            raise Wrong(f"no checkpoint: {text[:200]!r}")
        return found


def signature_line(key: Key, signature: bytes) -> str:
    """A line of a note that holds a signature."""
    return f"{DASH}{key.name} {base64.b64encode(key.identity + signature).decode()}\n"


def signed(text: str, lines: Sequence[str]) -> str:
    """The note of a text and its lines of signatures."""
    return f"{text}\n{''.join(lines)}"


def open_note(note: str, log: Key, witnesses: Sequence[Key] = (), quorum: int = 0) -> Checkpoint:
    """The checkpoint in a note that the log, and so many of the witnesses, have signed. Wrong when they have not."""
    text, blank, below = note.rpartition("\n\n")
    text += "\n"
    if not blank or not below.endswith("\n"):
        raise Wrong("no signed note")
    signatures: dict[tuple[str, bytes], bytes] = {}
    for line in below.removesuffix("\n").split("\n"):
        name, _, encoded = line.removeprefix(DASH).rpartition(" ")
        try:
            content = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            content = b""
        if not line.startswith(DASH) or not name or len(content) < 5:
            raise Wrong(f"no signature: {line[:200]!r}")
        signatures.setdefault((name, content[:4]), content[4:])
    found = Checkpoint.parse(text)
    if not _has_signed(log, text, signatures):
        raise Wrong(f"{log.name} has not signed the checkpoint of {found.size} leaves of {found.origin}")
    seen = {key.name for key in witnesses if _has_signed(key, text, signatures)}
    if len(seen) < quorum:
        raise Wrong(f"{len(seen)} witnesses have signed it, of at least {quorum}: {', '.join(sorted(seen))}")
    return found


def _has_signed(key: Key, text: str, signatures: Mapping[tuple[str, bytes], bytes]) -> bool:
    signature = signatures.get((key.name, key.identity), b"")
    message = text.encode()
    if key.kind == COSIGNATURE:
        at, signature = int.from_bytes(signature[:8], "big"), signature[8:]
        message = f"cosignature/v1\ntime {at}\n".encode() + message
    return verifies(key.public, message, signature)


# Ed25519, RFC 8032, section 5.1: a point is (x, y, z, t), with x/z and y/z on the curve and t = xy/z.
P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)
Point = tuple[int, int, int, int]
NEUTRAL: Point = (0, 1, 1, 0)


def verifies(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the owner of an Ed25519 key has signed the message."""
    if len(signature) != 64 or len(public) != 32:
        return False
    key, nonce = _point(public), _point(signature[:32])
    scalar = int.from_bytes(signature[32:], "little")
    if key is None or nonce is None or scalar >= ORDER:
        return False
    challenge = hashlib.sha512(signature[:32] + public + message).digest()
    left = _times(scalar, BASE)
    right = _plus(nonce, _times(int.from_bytes(challenge, "little") % ORDER, key))
    return (
        not (left[0] * right[2] - right[0] * left[2]) % P
        and not (left[1] * right[2] - right[1] * left[2]) % P
    )


def _point(encoded: bytes) -> Point | None:
    """The point of 32 bytes; None when they are none's."""
    whole = int.from_bytes(encoded, "little")
    y, odd = whole & (1 << 255) - 1, whole >> 255
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT_OF_MINUS_ONE % P
    if (x * x - square) % P or (not x and odd):
        return None
    if x & 1 != odd:
        x = P - x
    return x, y, 1, x * y % P


def _plus(one: Point, other: Point) -> Point:
    a = (one[1] - one[0]) * (other[1] - other[0]) % P
    b = (one[1] + one[0]) * (other[1] + other[0]) % P
    c = 2 * one[3] * other[3] * D % P
    d = 2 * one[2] * other[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def _times(scalar: int, point: Point) -> Point:
    found = NEUTRAL
    while scalar:
        if scalar & 1:
            found = _plus(found, point)
        point = _plus(point, point)
        scalar >>= 1
    return found


def _base() -> Point:
    y = 4 * pow(5, -1, P) % P
    found = _point(y.to_bytes(32, "little"))
    assert found is not None
    return found


BASE = _base()
